import type { ServerResponse } from "node:http";
import type { Clock } from "#lib/clock.ts";
import { checkNotFuture, versionOf, wholeNumber } from "./listing.ts";
import type { StoredObject } from "./object.ts";
import { apiVersionOf, type ResourceType } from "./resource-type.ts";
import { type Selector, selectorOf } from "./selectors.ts";
import { ApiError, failureStatus, forbiddenField, invalid } from "./status.ts";
import type { ObjectStore, StoreEvent } from "./store.ts";

/** A watcher that lets more than this pile up is cut; it starts again from its last version. */
const MAX_BUFFERED_BYTES = 8 * 1024 * 1024;
const BOOKMARK_MS = 60_000;
const MIN_DEFAULT_SECONDS = 1800;
const INITIAL_EVENTS_END = "k8s.io/initial-events-end";

export interface Watch {
  store: ObjectStore;
  type: ResourceType;
  namespace: string | undefined;
  query: URLSearchParams;
  /** The form in which objects travel: as they are, metadata only, or a table. */
  present(object: StoredObject): unknown;
  clock: Clock;
  signal: AbortSignal;
}

/** Streams changes, one JSON object per line, until the client leaves, the time is over or the signal aborts. */
export class WatchStream {
  readonly #watch: Watch;
  readonly #selects: Selector | undefined;
  readonly #bookmarks: boolean;
  #response: ServerResponse | undefined;
  #ended = false;

  /** Throws 400, 422 and 504 before anything is written. */
  constructor(watch: Watch) {
    this.#watch = watch;
    this.#selects = selectorOf(watch.query, watch.type.plural);
    this.#bookmarks = isTrue(watch.query, "allowWatchBookmarks");
    checkInitialEvents(watch.query);
    checkNotFuture(watch.store, versionOf(watch.query));
  }

  /** Resolves when the stream has ended. */
  async run(response: ServerResponse): Promise<void> {
    this.#response = response;
    const { query, clock, signal, store } = this.#watch;
    const seconds = wholeNumber(query, "timeoutSeconds") || defaultSeconds();
    const over = new AbortController();
    const end = () => over.abort();
    response.on("close", end);
    signal.addEventListener("abort", end);
    const unsubscribe = this.#begin(response, end);
    try {
      if (!this.#ended) await this.#keepAlive(clock.now() + seconds * 1000, over.signal);
    } finally {
      unsubscribe();
      signal.removeEventListener("abort", end);
      if (!this.#ended) this.#bookmark(store.version);
      response.end();
    }
  }

  /** Sends what lies behind, then subscribes: both in one go, so nothing is missed between. */
  #begin(response: ServerResponse, end: () => void): () => void {
    const { store, query } = this.#watch;
    const version = versionOf(query);
    const initial = isTrue(query, "sendInitialEvents");
    const fromNow = query.get("sendInitialEvents") === "false";
    if (initial || (!version && !fromNow)) this.#sendAll(initial);
    else if (version) this.#replay(version);
    return store.subscribe((event) => {
      this.#deliver(event);
      if (response.writableLength > MAX_BUFFERED_BYTES) response.destroy();
      if (response.destroyed) end();
    });
  }

  #sendAll(withEnd: boolean): void {
    const { store, type, namespace } = this.#watch;
    for (const object of store.list(type.storage, namespace)) {
      if (this.#selects?.(object) ?? true) this.#send("ADDED", object);
    }
    if (withEnd && this.#bookmarks) {
      this.#bookmark(store.version, { [INITIAL_EVENTS_END]: "true" });
    }
  }

  #replay(version: number): void {
    try {
      for (const event of this.#watch.store.since(version)) this.#deliver(event);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#write({ type: "ERROR", object: failureStatus(error) });
      this.#ended = true;
    }
  }

  /** A change that moves an object into or out of the selection looks like its birth or its end. */
  #deliver({ storage, type, object, previous }: StoreEvent): void {
    const { namespace } = this.#watch;
    if (storage !== this.#watch.type.storage) return;
    if (namespace !== undefined && object.metadata.namespace !== namespace) return;
    const selects = this.#selects ?? (() => true);
    const before = previous !== undefined && selects(previous);
    const now = type !== "DELETED" && selects(object);
    if (now) this.#send(before ? "MODIFIED" : "ADDED", object);
    else if (before)
      this.#send(
        "DELETED",
        type === "DELETED"
          ? object
          : { ...previous, metadata: { ...previous.metadata, ...versionIn(object) } },
      );
  }

  async #keepAlive(untilMs: number, signal: AbortSignal): Promise<void> {
    const { clock, store } = this.#watch;
    try {
      for (let left = untilMs - clock.now(); left > 0; left = untilMs - clock.now()) {
        await clock.sleep(Math.min(left, BOOKMARK_MS), signal);
        if (untilMs > clock.now()) this.#bookmark(store.version);
      }
    } catch {
      // Aborted: the client left, or the server stops.
    }
  }

  #bookmark(version: number, annotations?: Record<string, string>): void {
    if (!this.#bookmarks) return;
    const { kind } = this.#watch.type;
    const metadata = {
      resourceVersion: String(version),
      creationTimestamp: null,
      ...(annotations && { annotations }),
    };
    this.#write({
      type: "BOOKMARK",
      object: { kind, apiVersion: apiVersionOf(this.#watch.type), metadata },
    });
  }

  #send(type: string, object: StoredObject): void {
    const shown = this.#watch.type.fromStored?.(object) ?? object;
    this.#write({ type, object: this.#watch.present(shown) });
  }

  #write(line: object): void {
    if (this.#response?.destroyed === false) this.#response.write(`${JSON.stringify(line)}\n`);
  }
}

const versionIn = ({ metadata: { resourceVersion } }: StoredObject) => ({ resourceVersion });
const isTrue = (query: URLSearchParams, name: string) =>
  ["true", "1"].includes(query.get(name) ?? "");
const defaultSeconds = () => Math.round(MIN_DEFAULT_SECONDS * (1 + Math.random()));

function checkInitialEvents(query: URLSearchParams): void {
  const match = query.get("resourceVersionMatch");
  const initial = query.has("sendInitialEvents");
  const wrong =
    (initial &&
      match !== "NotOlderThan" &&
      "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan") ||
    (!initial &&
      match &&
      "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
  if (!wrong) return;
  const error = forbiddenField("resourceVersionMatch", wrong);
  throw invalid({ group: "meta.k8s.io", plural: "", kind: "ListOptions" }, "", [error]);
}
