import { MAX_TIMER_MS } from "#lib/clock.ts";

/** A thing that many may wait for and anybody may set off. */
export class Wake {
  readonly #waiters = new Set<() => void>();

  fire(): void {
    // A waiter takes itself out; a Set allows that under iteration.
    for (const waiter of this.#waiters) waiter();
  }

  /** Resolves at the next `fire`, after `ms`, or when the signal aborts; never rejects. */
  wait(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#waiters.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, Math.min(ms, MAX_TIMER_MS));
      this.#waiters.add(done);
      signal.addEventListener("abort", done, { once: true });
    });
  }
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
