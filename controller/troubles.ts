/** What keeps this process from doing its work, in sentences for people; readiness shows them. */
export class Troubles {
  readonly #sentences = new Map<string, string>();
  #begun = 0;

  /** Holds until the returned function is called. */
  begin(sentence: string): () => void {
    this.#begun += 1;
    const key = `begun-${this.#begun}`;
    this.#sentences.set(key, sentence);
    return () => this.clear(key);
  }

  /** Holds until it is cleared or replaced; keys are few and fixed. */
  set(key: string, sentence: string): void {
    this.#sentences.set(key, sentence);
  }

  clear(key: string): void {
    this.#sentences.delete(key);
  }

  list(): string[] {
    return [...this.#sentences.values()];
  }
}
