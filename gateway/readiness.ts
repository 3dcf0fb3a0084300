/** What the gateway still waits for, in words; each thing by its name. */
export class Readiness {
  readonly #waiting = new Map<string, string>();

  waitFor(name: string, words: string): void {
    this.#waiting.set(name, words);
  }

  done(name: string): void {
    this.#waiting.delete(name);
  }

  list(): string[] {
    return [...this.#waiting.values()];
  }
}
