/**
 * What every `startX(options, signal)` resolves to once it serves. Aborting the signal stops it in order;
 * `closed` resolves when everything it started has ended, and rejects when it died by itself.
 */
export interface Running {
  closed: Promise<void>;
}

/** The same, for something that listens. */
export interface Listening extends Running {
  host: string;
  port: number;
}
