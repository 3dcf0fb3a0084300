import { ArgusError } from "#lib/errors.ts";
import { GatewayDocument } from "#protocol/document.ts";
import type { Store } from "./store/store.ts";

const UID = "gateway";
const EMPTY: GatewayDocument = { schemaVersion: 1, epoch: 0, keys: [] };

/** The gateway document in memory. Changes are committed one after the other; what is read is always committed. */
export class GatewayState {
  readonly #store: Store;
  #version: number;
  #current: GatewayDocument;
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(store: Store, version: number, current: GatewayDocument) {
    this.#store = store;
    this.#version = version;
    this.#current = current;
  }

  /** Reads the document. One that this version does not understand is refused, never replaced. */
  static async open(store: Store): Promise<GatewayState> {
    const stored = await store.read(UID);
    if (!stored) return new GatewayState(store, 0, EMPTY);
    const checked = GatewayDocument.safeParse(stored.body);
    if (!checked.success) {
      throw new ArgusError(
        "Internal",
        "The gateway document has a shape that this version does not know: start the Argus version that wrote it.",
        { version: stored.version, problem: checked.error.issues[0]?.message },
      );
    }
    return new GatewayState(store, stored.version, checked.data);
  }

  get current(): GatewayDocument {
    return this.#current;
  }

  /** Commits `change(current)`; the same object back means nothing to do. */
  update(change: (document: GatewayDocument) => GatewayDocument): Promise<GatewayDocument> {
    const done = this.#tail.then(() => this.#commit(change));
    this.#tail = done.catch(() => {});
    return done;
  }

  async #commit(change: (document: GatewayDocument) => GatewayDocument): Promise<GatewayDocument> {
    const next = change(this.#current);
    if (next === this.#current) return next;
    this.#version = await this.#store.commit(UID, this.#version, next);
    this.#current = next;
    return next;
  }
}
