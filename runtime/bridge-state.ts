import type { BridgeState } from "#protocol/bridge.ts";

/** Until the app-server runs for the first time; then its own states. Draining is final. */
export class StateOfBridge {
  readonly #announce: (state: BridgeState, reason?: string) => void;
  #state: BridgeState = "starting";
  #reason: string | undefined;

  constructor(announce: (state: BridgeState, reason?: string) => void) {
    this.#announce = announce;
  }

  get state(): BridgeState {
    return this.#state;
  }

  get reason(): string | undefined {
    return this.#reason;
  }

  /** Tells the peers when it is another state or reason than before. */
  set(state: BridgeState, reason?: string): void {
    if (this.#state === "draining") return;
    if (this.#state === state && this.#reason === reason) return;
    this.#state = state;
    this.#reason = reason?.slice(0, 1024);
    this.#announce(state, this.#reason);
  }

  /** Why there is no app-server, as a sentence. */
  why(): string {
    const reason = this.#reason ? ` (${this.#reason})` : "";
    return `The bridge is ${this.#state}${reason}.`;
  }
}
