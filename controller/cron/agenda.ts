import { type Clock, systemClock } from "#lib/clock.ts";

interface Entry {
  key: string;
  atMs: number;
}

/** The clock is looked at this often: it may be set, and timers stand still while a machine sleeps. */
const RECHECK_MS = 30_000;
/** Entries that were moved or deleted are cleared out when they are more than this and half of all. */
const STALE_SLACK = 64;

/**
 * Calls `onDue` for each key when the wall clock reaches its time, late rather than early. One timer for all keys; an entry is
 * a number and a reference. Holds one entry for each key.
 */
export class Agenda {
  readonly #clock: Clock;
  readonly #onDue: (key: string) => void;
  readonly #entries = new Map<string, Entry>();
  /** A binary heap, the earliest first; entries that are not in the map any more are passed over. */
  #heap: Entry[] = [];
  #rearm = new AbortController();

  constructor(onDue: (key: string) => void, clock: Clock = systemClock) {
    this.#onDue = onDue;
    this.#clock = clock;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** In place of the time that this key had. */
  set(key: string, atMs: number): void {
    if (this.#entries.get(key)?.atMs === atMs) return;
    this.#compact();
    const entry = { key, atMs };
    this.#entries.set(key, entry);
    push(this.#heap, entry);
    if (this.#heap[0] === entry) this.#rearm.abort();
  }

  delete(key: string): void {
    this.#entries.delete(key);
  }

  /** Until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    signal.addEventListener("abort", () => this.#rearm.abort(), { once: true });
    while (!signal.aborted) {
      this.#rearm = new AbortController();
      const waitMs = this.#tellDue();
      await this.#clock.sleep(waitMs, this.#rearm.signal).catch(() => undefined);
    }
  }

  /** Returns how long to wait before the next look. */
  #tellDue(): number {
    const nowMs = this.#clock.now();
    for (;;) {
      const first = this.#heap[0];
      if (!first) return RECHECK_MS;
      const isKnown = this.#entries.get(first.key) === first;
      if (isKnown && first.atMs > nowMs) return Math.min(first.atMs - nowMs, RECHECK_MS);
      pop(this.#heap);
      if (!isKnown) continue;
      this.#entries.delete(first.key);
      this.#onDue(first.key);
    }
  }

  #compact(): void {
    if (this.#heap.length <= 2 * this.#entries.size + STALE_SLACK) return;
    // A sorted list is a heap.
    this.#heap = [...this.#entries.values()].sort((a, b) => a.atMs - b.atMs);
  }
}

function push(heap: Entry[], entry: Entry): void {
  let index = heap.length;
  while (index > 0) {
    const above = (index - 1) >> 1;
    const parent = heap[above];
    if (!parent || parent.atMs <= entry.atMs) break;
    heap[index] = parent;
    index = above;
  }
  heap[index] = entry;
}

function pop(heap: Entry[]): void {
  const last = heap.pop();
  if (!last || heap.length === 0) return;
  let index = 0;
  for (;;) {
    const left = 2 * index + 1;
    const [a, b] = [heap[left], heap[left + 1]];
    const child = a && b && b.atMs < a.atMs ? left + 1 : left;
    const smaller = heap[child];
    if (!smaller || smaller.atMs >= last.atMs) break;
    heap[index] = smaller;
    index = child;
  }
  heap[index] = last;
}
