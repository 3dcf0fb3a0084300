/** Which container's output of which pod; the uid guards against a namesake. */
export interface LogTarget {
  namespace: string;
  name: string;
  uid: string;
}

/** The query of `GET …/pods/{name}/log`, parsed. */
export interface LogOptions {
  /** The only container when absent. */
  container?: string;
  follow: boolean;
  tailLines?: number;
  /** Of the run before the last restart. */
  previous?: boolean;
  timestamps?: boolean;
  sinceSeconds?: number;
  limitBytes?: number;
}

/**
 * Where pod logs come from. `read` yields raw bytes and ends at the end of the log, with `follow` when the
 * container has ended or the signal aborts. Throws ArgusError NotFound (no such run) or InvalidInput (no such container).
 */
export interface LogSource {
  read(pod: LogTarget, options: LogOptions, signal: AbortSignal): AsyncIterable<Buffer>;
}
