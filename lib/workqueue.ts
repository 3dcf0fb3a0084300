import { backoffMs, type Clock, systemClock } from "./clock.ts";
import { ArgusError } from "./errors.ts";

/** `urgent` before `high` before `low`. */
export type Priority = "urgent" | "high" | "low";

/** Told how long keys waited for a worker and how long they were worked on, in milliseconds. */
export interface QueueObserver {
  waited(ms: number): void;
  worked(ms: number): void;
}

export interface WorkQueueOptions {
  clock?: Clock;
  /** Most keys that may be known at once; the keys of one collection are far fewer. */
  maxKeys?: number;
  /** Of `retry`, per key: base × 2^failures up to max. */
  backoff?: { baseMs: number; maxMs: number };
  /** Of `retry`, for all keys together. */
  bucket?: { perSecond: number; burst: number };
}

const MAX_KEYS = 100_000;
const BACKOFF = { baseMs: 5, maxMs: 1_000_000 };
const BUCKET = { perSecond: 10, burst: 100 };
/** A delayed key that finds the queue full waits once more. */
const FULL_RETRY_MS = 1000;
const ORDER: readonly Priority[] = ["urgent", "high", "low"];
/** Every so many keys a lower priority goes first, each in its turn, so that none waits for ever. */
const LOW_TURN = 16;

/**
 * Keys that wait for work. Each key is in it once, however often it is added; no two workers ever hold the same key, and a
 * key that is added while it is worked on comes once more afterwards. Holds at most `maxKeys`: a further key throws `Busy`.
 */
export class WorkQueue {
  readonly #clock: Clock;
  readonly #maxKeys: number;
  readonly #backoff: { baseMs: number; maxMs: number };
  readonly #bucket: TokenBucket;
  /** Since when each key could be taken. */
  readonly #ready: Record<Priority, Map<string, number>> = {
    urgent: new Map(),
    high: new Map(),
    low: new Map(),
  };
  /** Since when each key is worked on. */
  readonly #processing = new Map<string, number>();
  /** Added while being processed, with their priority. */
  readonly #again = new Map<string, Priority>();
  readonly #delayed = new Map<string, { atMs: number; cancel: AbortController }>();
  readonly #failures = new Map<string, number>();
  readonly #waiting = new Set<(key: string) => void>();
  #taken = 0;
  #observer: QueueObserver | undefined;
  /** Since the start: keys that were added, and those of them that were added by `retry`. */
  readonly counts = { adds: 0, retries: 0 };

  constructor(options: WorkQueueOptions = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#maxKeys = options.maxKeys ?? MAX_KEYS;
    this.#backoff = options.backoff ?? BACKOFF;
    this.#bucket = new TokenBucket(options.bucket ?? BUCKET, this.#clock.monotonicMs());
  }

  /** Keys that could be taken now. */
  get depth(): number {
    return ORDER.reduce((sum, priority) => sum + this.#ready[priority].size, 0);
  }

  /** For how long, in milliseconds, each key that is worked on has been so. */
  get workingMs(): number[] {
    const nowMs = this.#clock.monotonicMs();
    return [...this.#processing.values()].map((sinceMs) => nowMs - sinceMs);
  }

  observe(observer: QueueObserver): void {
    this.#observer = observer;
  }

  add(key: string, priority: Priority = "high"): void {
    const known = this.#processing.has(key) || this.#waitsAs(key) !== undefined;
    if (!known) this.#admit(this.depth);
    this.counts.adds += 1;
    this.#put(key, priority);
  }

  /** For keys that have been admitted before. */
  #put(key: string, priority: Priority): void {
    if (this.#processing.has(key)) {
      if (isBefore(priority, this.#again.get(key))) this.#again.set(key, priority);
      return;
    }
    const before = this.#waitsAs(key);
    if (!isBefore(priority, before)) return;
    const sinceMs = (before && this.#ready[before].get(key)) ?? this.#clock.monotonicMs();
    if (before) this.#ready[before].delete(key);
    const [waiter] = this.#waiting;
    if (!waiter) {
      this.#ready[priority].set(key, sinceMs);
      return;
    }
    this.#waiting.delete(waiter);
    this.#begin(key, sinceMs);
    waiter(key);
  }

  #waitsAs(key: string): Priority | undefined {
    return ORDER.find((priority) => this.#ready[priority].has(key));
  }

  #begin(key: string, sinceMs: number): void {
    const nowMs = this.#clock.monotonicMs();
    this.#processing.set(key, nowMs);
    this.#observer?.waited(nowMs - sinceMs);
  }

  /** Adds the key after `delayMs`; of several delays for one key the earliest holds. */
  addAfter(key: string, delayMs: number): void {
    if (delayMs <= 0) return this.add(key);
    const atMs = this.#clock.monotonicMs() + delayMs;
    const known = this.#delayed.get(key);
    if (known && known.atMs <= atMs) return;
    if (known) known.cancel.abort();
    else this.#admit(this.#delayed.size);
    const cancel = new AbortController();
    this.#delayed.set(key, { atMs, cancel });
    this.#clock.sleep(delayMs, cancel.signal).then(
      () => {
        this.#delayed.delete(key);
        if (this.depth < this.#maxKeys) this.add(key);
        else this.addAfter(key, FULL_RETRY_MS);
      },
      () => undefined,
    );
  }

  /** Adds the key after its back-off, which grows until `forget`, within the given limits. Returns the delay. */
  retry(key: string, limits: { atLeastMs?: number; atMostMs?: number } = {}): number {
    const failures = this.#failures.get(key) ?? 0;
    this.#failures.set(key, failures + 1);
    this.counts.retries += 1;
    const own = backoffMs(failures, { ...this.#backoff, jitter: 0 });
    const { atLeastMs = 0, atMostMs = Number.POSITIVE_INFINITY } = limits;
    const pacedMs = Math.max(Math.min(own, atMostMs), atLeastMs);
    const delayMs = Math.max(pacedMs, this.#bucket.reserve(this.#clock.monotonicMs()));
    this.addAfter(key, delayMs);
    return delayMs;
  }

  /** The key is well: its next back-off begins anew. */
  forget(key: string): void {
    this.#failures.delete(key);
  }

  /** The next key, marked as being processed until `done`. Rejects with the signal's reason. */
  async take(signal: AbortSignal): Promise<string> {
    signal.throwIfAborted();
    const next = this.#next();
    if (next) {
      this.#begin(...next);
      return next[0];
    }
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const stop = () => {
      // A key that was just handed over is not lost.
      if (this.#waiting.delete(resolve)) reject(signal.reason);
    };
    this.#waiting.add(resolve);
    signal.addEventListener("abort", stop, { once: true });
    try {
      return await promise;
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  done(key: string): void {
    const sinceMs = this.#processing.get(key);
    if (sinceMs !== undefined) this.#observer?.worked(this.#clock.monotonicMs() - sinceMs);
    this.#processing.delete(key);
    const priority = this.#again.get(key);
    if (!priority) return;
    this.#again.delete(key);
    this.#put(key, priority);
  }

  /** Cancels all delays; nothing is added by itself any more. */
  close(): void {
    for (const { cancel } of this.#delayed.values()) cancel.abort();
    this.#delayed.clear();
  }

  #next(): [key: string, sinceMs: number] | undefined {
    this.#taken += 1;
    const favoured = FAVOURED.get(this.#taken % LOW_TURN);
    const order = favoured ? [favoured, ...ORDER] : ORDER;
    const source = order.map((each) => this.#ready[each]).find(({ size }) => size > 0);
    const [next] = source ?? [];
    if (next) source?.delete(next[0]);
    return next;
  }

  #admit(known: number): void {
    if (known < this.#maxKeys) return;
    throw new ArgusError("Busy", `a work queue holds its maximum of ${this.#maxKeys} keys`);
  }
}

const FAVOURED = new Map<number, Priority>([
  [0, "low"],
  [LOW_TURN / 2, "high"],
]);

function isBefore(priority: Priority, other: Priority | undefined): boolean {
  return other === undefined || ORDER.indexOf(priority) < ORDER.indexOf(other);
}

/** Hands out permissions to act at a later time. */
class TokenBucket {
  readonly #perSecond: number;
  readonly #burst: number;
  #tokens: number;
  #atMs: number;

  constructor({ perSecond, burst }: { perSecond: number; burst: number }, nowMs: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#tokens = burst;
    this.#atMs = nowMs;
  }

  /** Takes one token, on credit where there is none; returns how long its taker has to wait. */
  reserve(nowMs: number): number {
    const earned = (Math.max(0, nowMs - this.#atMs) * this.#perSecond) / 1000;
    this.#tokens = Math.min(this.#burst, this.#tokens + earned) - 1;
    this.#atMs = nowMs;
    return this.#tokens >= 0 ? 0 : Math.ceil((-this.#tokens * 1000) / this.#perSecond);
  }
}
