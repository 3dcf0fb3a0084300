import { backoffMs, type Clock, systemClock } from "./clock.ts";
import { ArgusError } from "./errors.ts";

export type Priority = "high" | "low";

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
/** Every so many keys one of low priority goes first, so that none waits for ever. */
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
  readonly #ready: Record<Priority, Set<string>> = { high: new Set(), low: new Set() };
  readonly #processing = new Set<string>();
  /** Added while being processed, with their priority. */
  readonly #again = new Map<string, Priority>();
  readonly #delayed = new Map<string, { atMs: number; cancel: AbortController }>();
  readonly #failures = new Map<string, number>();
  readonly #waiting = new Set<(key: string) => void>();
  #taken = 0;
  /** Since the start: keys that were added, and those of them that were added by `retry`. */
  readonly counts = { adds: 0, retries: 0 };

  constructor(options: WorkQueueOptions = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#maxKeys = options.maxKeys ?? MAX_KEYS;
    this.#backoff = options.backoff ?? BACKOFF;
    this.#bucket = new TokenBucket(options.bucket ?? BUCKET, this.#clock.now());
  }

  /** Keys that could be taken now. */
  get depth(): number {
    return this.#ready.high.size + this.#ready.low.size;
  }

  add(key: string, priority: Priority = "high"): void {
    const known =
      this.#processing.has(key) || this.#ready.high.has(key) || this.#ready.low.has(key);
    if (!known) this.#admit(this.depth);
    this.counts.adds += 1;
    this.#put(key, priority);
  }

  /** For keys that have been admitted before. */
  #put(key: string, priority: Priority): void {
    if (this.#processing.has(key)) {
      if (this.#again.get(key) !== "high") this.#again.set(key, priority);
      return;
    }
    if (this.#ready.high.has(key)) return;
    if (priority === "low" && this.#ready.low.has(key)) return;
    this.#ready.low.delete(key);
    const [waiter] = this.#waiting;
    if (!waiter) {
      this.#ready[priority].add(key);
      return;
    }
    this.#waiting.delete(waiter);
    this.#processing.add(key);
    waiter(key);
  }

  /** Adds the key after `delayMs`; of several delays for one key the earliest holds. */
  addAfter(key: string, delayMs: number): void {
    if (delayMs <= 0) return this.add(key);
    const atMs = this.#clock.now() + delayMs;
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
    const delayMs = Math.max(pacedMs, this.#bucket.reserve(this.#clock.now()));
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
    const key = this.#next();
    if (key !== undefined) {
      this.#processing.add(key);
      return key;
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

  #next(): string | undefined {
    const { high, low } = this.#ready;
    this.#taken += 1;
    const lowFirst = low.size > 0 && this.#taken % LOW_TURN === 0;
    const source = high.size > 0 && !lowFirst ? high : low;
    const [key] = source;
    if (key !== undefined) source.delete(key);
    return key;
  }

  #admit(known: number): void {
    if (known < this.#maxKeys) return;
    throw new ArgusError("Busy", `a work queue holds its maximum of ${this.#maxKeys} keys`);
  }
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
