import type { Clock } from "#lib/clock.ts";

interface Sleeper {
  atMs: number;
  wake: () => void;
}

/** Time that moves only by `advance`, which wakes sleepers in order, and a wall clock that somebody may set. */
export class ManualClock implements Clock {
  #nowMs: number;
  #jumpedMs = 0;
  #sleepers: Sleeper[] = [];

  constructor(nowMs = Date.UTC(2030, 0, 1)) {
    this.#nowMs = nowMs;
  }

  now(): number {
    return this.#nowMs + this.#jumpedMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  /** The wall clock is set; nobody who sleeps wakes earlier or later. */
  jump(ms: number): void {
    this.#jumpedMs += ms;
  }

  get sleepers(): number {
    return this.#sleepers.length;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (signal?.aborted) return Promise.reject(signal.reason as Error);
    const sleeper = { atMs: this.#nowMs + ms, wake: resolve };
    this.#sleepers.push(sleeper);
    signal?.addEventListener("abort", () => {
      this.#sleepers = this.#sleepers.filter((each) => each !== sleeper);
      reject(signal.reason as Error);
    });
    return promise;
  }

  /** Moves time, waking whoever is due on the way; what they do gets its turn before the next one wakes. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const due = this.#sleepers.filter(({ atMs }) => atMs <= untilMs);
      const next = due.sort((a, b) => a.atMs - b.atMs)[0];
      if (!next) break;
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      this.#sleepers = this.#sleepers.filter((each) => each !== next);
      next.wake();
      await settled();
    }
    this.#nowMs = untilMs;
    await settled();
  }
}

/** Lets all promise callbacks run that are ready. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
