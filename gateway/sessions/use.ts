/**
 * What clients do with a session's app-server without the gateway's lanes. Their lines wait until the API server knows that the
 * session is needed: a pod that is about to be taken away is given no new work.
 */
export class Use {
  /** Lines so far: who compares two counts knows whether anything happened between. */
  lines = 0;
  /** Clients that are attached. */
  clients = 0;
  /** Something may be open in the app-server that only its bridge knows of. */
  isOpen: boolean;
  readonly #onOpen: () => void;
  readonly #waiting = new Set<() => void>();
  #isAllowed: boolean;

  constructor(facts: { isOpen: boolean; isAllowed: boolean; onOpen: () => void }) {
    this.isOpen = facts.isOpen;
    this.#isAllowed = facts.isAllowed;
    this.#onOpen = facts.onOpen;
  }

  /** Lines may go to the bridge now. */
  get isAllowed(): boolean {
    return this.#isAllowed;
  }

  /** A client has something to say. True = it may. */
  claim(): boolean {
    this.lines += 1;
    if (!this.isOpen) {
      this.isOpen = true;
      this.#onOpen();
    }
    return this.#isAllowed;
  }

  /** Somebody waits for the session's pod. Returns the function that ends that. */
  enter(): () => void {
    this.clients += 1;
    this.claim();
    return () => {
      this.clients -= 1;
    };
  }

  allow(isAllowed: boolean): void {
    this.#isAllowed = isAllowed;
    if (!isAllowed) return;
    for (const go of Array.from(this.#waiting)) go();
  }

  /** Calls `go` each time that lines may go. Returns the unsubscribe function. */
  whenAllowed(go: () => void): () => void {
    this.#waiting.add(go);
    return () => this.#waiting.delete(go);
  }
}
