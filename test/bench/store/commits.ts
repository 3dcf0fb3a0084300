import { type DocumentKind, StoredState } from "#gateway/state/document.ts";
import type { Store } from "#gateway/store/store.ts";
import { type Paced, paced } from "./paced.ts";

/** Entries of 1 KiB that a document holds: each commit replaces the oldest. */
const LIVE = 64;
export const ENTRY_BYTES = 1024;

interface Entries {
  entries: { id: number; text: string }[];
}

const KIND: DocumentKind<Entries> = {
  what: "A document of the benchmark",
  schema: { safeParse: (data: unknown) => ({ success: true, data }) } as never,
  empty: { entries: [] },
};

export class Producers {
  readonly #states: StoredState<Entries>[];
  #next = 0;

  static async open(store: Store, documents: number, name: string): Promise<Producers> {
    const uids = Array.from({ length: documents }, (_, index) => `${name}-${index}`);
    const states = await Promise.all(uids.map((uid) => StoredState.open(store, uid, KIND)));
    const producers = new Producers(states);
    await producers.commit(LIVE * documents);
    return producers;
  }

  private constructor(states: StoredState<Entries>[]) {
    this.#states = states;
  }

  /** `count` producers, each of which waits for its commit before the next. */
  run(count: number, forMs: number): Promise<Paced> {
    return paced(count, forMs, (producer) => this.#one(producer));
  }

  /** So many commits as fast as it goes. */
  async commit(count: number): Promise<void> {
    for (let done = 0; done < count; done += LIVE) {
      const batch = Array.from({ length: Math.min(LIVE, count - done) }, (_, i) => this.#one(i));
      await Promise.all(batch);
    }
  }

  async #one(producer: number): Promise<void> {
    const state = this.#states[producer % this.#states.length];
    const entry = { id: (this.#next += 1), text: "x".repeat(ENTRY_BYTES - 32) };
    await state?.update(({ entries }) => ({ entries: [...entries.slice(1 - LIVE), entry] }));
  }
}
