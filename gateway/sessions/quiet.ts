import type { Clock } from "#lib/clock.ts";

/** How long something has not moved, whatever becomes of the wall clock meanwhile: it stamps what moves, it does not measure the rest. */
export class Quiet<What extends string> {
  readonly #clock: Clock;
  readonly #seen = new Map<What, { stamp: number; since: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Milliseconds since the move that has this stamp; negative while it lies ahead. A stamp from before this process is believed. */
  ms(what: What, stamp: number): number {
    const now = this.#clock.monotonicMs();
    const seen = this.#seen.get(what);
    if (seen?.stamp === stamp) return now - seen.since;
    const since = now - (this.#clock.now() - stamp);
    this.#seen.set(what, { stamp, since });
    return now - since;
  }
}
