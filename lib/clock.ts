import { setTimeout as delay } from "node:timers/promises";

/** Time as a seam: the system's in a process, a hand-moved one in tests. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Milliseconds since some moment; unlike `now()` it neither jumps nor goes back when the clock is set. For durations. */
  monotonicMs(): number;
  /** Resolves after `ms`; rejects with the signal's reason when aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Longest delay that a Node timer takes; a longer one would fire at once. */
export const MAX_TIMER_MS = 2 ** 31 - 1;

/** {@link Clock.monotonicMs} of this process. */
export const monotonicMs = (): number => performance.now();

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicMs,
  sleep: async (ms, signal) => {
    const options = signal ? { signal } : {};
    for (let left = ms; left > 0; left -= MAX_TIMER_MS) {
      await delay(Math.min(left, MAX_TIMER_MS), undefined, options);
    }
  },
};

export interface BackoffOptions {
  baseMs: number;
  maxMs: number;
  /** 0..1: share of the delay that is random. */
  jitter?: number;
}

/** Delay before try number `attempt` (0 = the first retry), exponential with a cap and jitter. */
export function backoffMs(
  attempt: number,
  { baseMs, maxMs, jitter = 0.2 }: BackoffOptions,
  random: () => number = Math.random,
): number {
  const full = Math.min(maxMs, baseMs * 2 ** Math.min(attempt, 30));
  return Math.round(full * (1 - jitter * random()));
}
