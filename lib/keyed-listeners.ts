/** Listeners by key. An unsubscribe function may be called as often as one likes: it takes away its own listener only. */
export class KeyedListeners<L> {
  readonly #byKey = new Map<string, Set<{ listener: L }>>();

  /** Returns the unsubscribe function. */
  add(key: string, listener: L): () => void {
    const entry = { listener };
    const entries = this.#byKey.get(key) ?? new Set();
    this.#byKey.set(key, entries.add(entry));
    return () => {
      entries.delete(entry);
      // Another set may have taken the place of this one since it was empty.
      if (entries.size === 0 && this.#byKey.get(key) === entries) this.#byKey.delete(key);
    };
  }

  /** Those of the key now; a change while they are called changes nothing. */
  of(key: string): L[] {
    return Array.from(this.#byKey.get(key) ?? [], ({ listener }) => listener);
  }
}
