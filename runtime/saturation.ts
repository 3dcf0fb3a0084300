import type { Gauge } from "./pressure/cgroup.ts";

/** Without a pause for this long, it is no burst of a build any more. */
const HOLD_MS = 30_000;
/** Two looks further apart tell nothing about the time between them. */
const MAX_GAP_MS = 20_000;
/** Share of the limit, at least two tasks, that a bomb leaves free while some of its processes die and others follow. */
const MARGIN = 0.02;

/** One look at the session's processes and threads. */
export interface TaskCount {
  /** Absent = not known, or without a limit. */
  pids?: Gauge;
  /** Starts of processes that were refused so far. */
  pidLimitHits: number;
}

/** Decides when the session's processes hold their limit so long that only ending them helps. Pure: time is an argument. */
export class Saturation {
  readonly #holdMs: number;
  #since: number | undefined;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #hits: number | undefined;

  constructor(holdMs = HOLD_MS) {
    this.#holdMs = holdMs;
  }

  /**
   * Takes a look (ms of a clock that never goes back). True when every look of the last 30 s was saturated and they were
   * close enough to leave no gap: once, then the time counts anew.
   */
  look(now: number, count: TaskCount): boolean {
    const isGap = now - this.#lookedAt > MAX_GAP_MS;
    const saturated = isFull(count) || count.pidLimitHits > (this.#hits ?? count.pidLimitHits);
    this.#lookedAt = now;
    this.#hits = count.pidLimitHits;
    if (!saturated) this.#since = undefined;
    else if (isGap) this.#since = now;
    else this.#since ??= now;
    if (this.#since === undefined || now - this.#since < this.#holdMs) return false;
    this.#since = undefined;
    return true;
  }
}

function isFull({ pids }: TaskCount): boolean {
  if (!pids || pids.limit <= 0) return false;
  return pids.used >= pids.limit - Math.max(2, Math.ceil(pids.limit * MARGIN));
}
