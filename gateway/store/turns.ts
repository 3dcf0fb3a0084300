import { ArgusError } from "#lib/errors.ts";

const MAX_TAKEN = 10_000;

/** Work that waits for its turn: one at a time for each key, and only so many at once over all keys. */
export class Turns {
  #free: number;
  readonly #waiting: (() => void)[] = [];
  #taken = 0;
  readonly #last = new Map<string, Promise<unknown>>();

  constructor(atOnce: number) {
    this.#free = atOnce;
  }

  /** Runs `work` after everything that was asked before under this key, whatever became of that. Throws `Busy` when too much waits. */
  async take<T>(key: string, work: () => Promise<T>): Promise<T> {
    if (this.#taken >= MAX_TAKEN) throw new ArgusError("Busy", "Too many writes wait.");
    this.#taken += 1;
    const before = this.#last.get(key) ?? Promise.resolve();
    const mine = before.then(() => this.#run(work));
    const settled = mine.then(
      () => undefined,
      () => undefined,
    );
    this.#last.set(key, settled);
    void settled.then(() => {
      this.#taken -= 1;
      if (this.#last.get(key) === settled) this.#last.delete(key);
    });
    return mine;
  }

  /** Resolves when nothing is under way and nothing waits. */
  async idle(): Promise<void> {
    while (this.#last.size > 0) await Promise.all(this.#last.values());
  }

  async #run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }
}
