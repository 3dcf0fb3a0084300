import type { Logger } from "#lib/logger.ts";

/** What keeps this process from doing its work, in sentences for people; readiness shows them, the log has each once. */
export class Troubles {
  readonly #sentences = new Map<string, string>();
  readonly #logger: Logger;
  #begun = 0;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Holds until the returned function is called. */
  begin(sentence: string): () => void {
    this.#begun += 1;
    const key = `begun-${this.#begun}`;
    this.#sentences.set(key, sentence);
    return () => this.clear(key);
  }

  /** Holds until it is cleared or replaced; keys are few and fixed. */
  set(key: string, sentence: string): void {
    if (this.#sentences.get(key) === sentence) return;
    this.#sentences.set(key, sentence);
    this.#logger.warn({ trouble: sentence }, "not ready");
  }

  clear(key: string): void {
    this.#sentences.delete(key);
  }

  list(): string[] {
    return [...this.#sentences.values()];
  }
}
