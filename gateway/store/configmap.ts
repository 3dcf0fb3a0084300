import { randomUUID } from "node:crypto";
import { isNotFound, KubeError } from "#cluster/kube-error.ts";
import { configMaps } from "#cluster/resources.ts";
import type { KubeClient } from "#cluster/types.ts";
import { backoffMs, systemClock } from "#lib/clock.ts";
import { ArgusError } from "#lib/errors.ts";
import {
  type ConfigMap,
  DOCUMENT_LABEL,
  documentMap,
  documentOf,
  documentRef,
  HOLDER_NAME,
  holderMap,
  MAX_CONFIG_MAP_BYTES,
  type MappedDocument,
  uidOf,
  versionOf,
} from "./config-map-document.ts";
import { away, refusal, tooLarge } from "./config-map-errors.ts";
import type { Store, StoredDocument } from "./store.ts";
import { Turns } from "./turns.ts";

/** Calls at once: others use the API server too. */
const MAX_CALLS = 8;
/** A write or read that the API server does not settle in this time fails; the next one looks what became of it. */
const PATIENCE_MS = 60_000;
const RETRY = { baseMs: 50, maxMs: 5000 };
/** What is under way may take this long when the store is closed. */
const CLOSE_MS = 5000;
/** Documents of one answer: each may have half a megabyte. */
const PAGE = 20;

export interface ConfigMapStoreOptions {
  kube: KubeClient;
  namespace: string;
  /** Who holds the state, for people: host and process. */
  name: string;
  /** Default {@link PATIENCE_MS}. */
  patienceMs?: number;
}

interface Known {
  version: number;
  resourceVersion: string;
}

/**
 * Opens the store and takes it over from whoever has it.
 *
 * There is no lock as a file has one. Who opens the store writes its name into the ConfigMap `argus-state`, and its mark onto each
 * document when it reads it first. So everything that this process has in memory has a resourceVersion that a predecessor does not know: its
 * writes are refused, it sees another name and ends. Where there is no document yet, it creates one and looks for the name before it
 * says so. The document with the epoch is written after the name, so bridges refuse the predecessor's connections from then on. Two that are
 * started again and again would take the store from each other without end, and lose nothing by it; the StatefulSet of one replica
 * does not let that happen.
 */
export async function openConfigMapStore(
  options: ConfigMapStoreOptions,
  signal: AbortSignal,
): Promise<Store> {
  const store = new ConfigMapStore(options);
  const stop = () => store.abandon();
  signal.addEventListener("abort", stop, { once: true });
  try {
    signal.throwIfAborted();
    await store.takeOver();
    return store;
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

class ConfigMapStore implements Store {
  readonly maxDocumentBytes = MAX_CONFIG_MAP_BYTES;
  readonly #kube: KubeClient;
  readonly #namespace: string;
  readonly #name: string;
  readonly #patienceMs: number;
  /** This opening of the store: marks documents and begins the ids of commits. */
  readonly #id = randomUUID();
  readonly #known = new Map<string, Known>();
  readonly #turns = new Turns(MAX_CALLS);
  readonly #stop = new AbortController();
  readonly #failed = Promise.withResolvers<void>();
  #commits = 0;

  constructor({ kube, namespace, name, patienceMs = PATIENCE_MS }: ConfigMapStoreOptions) {
    this.#kube = kube;
    this.#namespace = namespace;
    this.#name = name;
    this.#patienceMs = patienceMs;
    this.#failed.promise.catch(() => {});
  }

  get failed(): Promise<void> {
    return this.#failed.promise;
  }

  async takeOver(): Promise<void> {
    const holder = { id: this.#id, name: this.#name, since: new Date().toISOString() };
    await this.#patiently(async () => {
      const found = await this.#holder();
      if (found?.data?.["id"] === this.#id) return;
      const map = holderMap(this.#namespace, holder, found?.metadata.resourceVersion);
      await (found ? this.#kube.replace(configMaps, map) : this.#kube.create(configMaps, map));
    });
  }

  read(uid: string): Promise<StoredDocument | undefined> {
    return this.#turns.take(uid, async () => {
      const document = await this.#claim(uid);
      return document && { version: document.version, body: JSON.parse(document.body) };
    });
  }

  async commit(uid: string, expected: number, body: unknown): Promise<number> {
    const text = JSON.stringify(body);
    const bytes = Buffer.byteLength(text);
    if (bytes > MAX_CONFIG_MAP_BYTES) throw tooLarge(uid, bytes);
    return this.#turns.take(uid, async () => {
      await this.#expect(uid, expected);
      const commit = `${this.#id}/${(this.#commits += 1)}`;
      const version = expected + 1;
      await this.#write({ uid, version, body: text, commit, holder: this.#id });
      return version;
    });
  }

  async overwrite(uid: string, body: unknown): Promise<number> {
    const text = JSON.stringify(body);
    const bytes = Buffer.byteLength(text);
    if (bytes > MAX_CONFIG_MAP_BYTES) throw tooLarge(uid, bytes);
    return this.#turns.take(uid, async () => {
      const map = await this.#patiently(() => this.#get(uid));
      const version = map ? versionOf(map) : 0;
      if (map) this.#remember({ uid, version }, map);
      else this.#known.delete(uid);
      const commit = `${this.#id}/${(this.#commits += 1)}`;
      await this.#write({ uid, version: version + 1, body: text, commit, holder: this.#id });
      return version + 1;
    });
  }

  async list(): Promise<{ uid: string; version: number }[]> {
    const rows: { uid: string; version: number }[] = [];
    let next: string | undefined;
    do {
      const page = await this.#patiently(() => this.#page(next));
      rows.push(...page.items.map((map) => ({ uid: uidOf(map), version: versionOf(map) })));
      next = page.continue;
    } while (next !== undefined);
    return rows;
  }

  remove(uid: string, expected: number): Promise<void> {
    return this.#turns.take(uid, async () => {
      if (!this.#known.has(uid) && !(await this.#claim(uid))) return;
      await this.#expect(uid, expected);
      await this.#delete(uid);
    });
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.race([this.#turns.idle(), systemClock.sleep(CLOSE_MS)]);
    this.#failed.resolve();
  }

  abandon(): void {
    this.#stop.abort();
  }

  /** Reads the document and makes it this process's own. */
  async #claim(uid: string): Promise<MappedDocument | undefined> {
    return this.#patiently(async () => {
      const map = await this.#get(uid);
      if (!map) {
        this.#known.delete(uid);
        return undefined;
      }
      const document = documentOf(map);
      const own = { ...document, holder: this.#id };
      const mark = () =>
        this.#kube.replace(
          configMaps,
          documentMap(this.#namespace, own, map.metadata.resourceVersion),
        );
      this.#remember(own, document.holder === this.#id ? map : await mark());
      return own;
    });
  }

  async #expect(uid: string, expected: number): Promise<void> {
    const known = this.#known.get(uid) ?? (await this.#claim(uid));
    const version = known?.version ?? 0;
    if (version === expected) return;
    const message = "The document was changed meanwhile: read it again.";
    throw new ArgusError("Conflict", message, { uid, version, expected });
  }

  /** The first try is made over the version that is known; after it the document is looked at: was it this very commit? */
  async #write(document: MappedDocument): Promise<void> {
    const { uid } = document;
    let over = this.#known.get(uid)?.resourceVersion;
    await this.#patiently(async (isFirst) => {
      if (!isFirst) {
        const found = await this.#get(uid);
        over = found?.metadata.resourceVersion;
        // Whatever it is now: as long as the state is ours, what is in memory is the truth.
        await this.#demandHolder();
        if (found?.data?.["commit"] === document.commit) return this.#remember(document, found);
      }
      const map = documentMap(this.#namespace, document, over);
      const made = await (over === undefined
        ? this.#kube.create(configMaps, map)
        : this.#kube.replace(configMaps, map));
      if (over === undefined) await this.#demandHolder();
      this.#remember(document, made);
    });
  }

  async #delete(uid: string): Promise<void> {
    let over = this.#known.get(uid)?.resourceVersion;
    await this.#patiently(async (isFirst) => {
      if (!isFirst) {
        over = (await this.#get(uid))?.metadata.resourceVersion;
        await this.#demandHolder();
      }
      if (over !== undefined) {
        await this.#kube.delete(documentRef(this.#namespace, uid), { resourceVersion: over });
      }
      this.#known.delete(uid);
    });
  }

  #remember(
    { uid, version }: Pick<MappedDocument, "uid" | "version">,
    { metadata }: ConfigMap,
  ): void {
    this.#known.set(uid, { version, resourceVersion: metadata.resourceVersion ?? "" });
  }

  #get(uid: string): Promise<ConfigMap | undefined> {
    return this.#kube.get<ConfigMap>(documentRef(this.#namespace, uid));
  }

  #page(next: string | undefined) {
    return this.#kube.list<ConfigMap>(configMaps, {
      namespace: this.#namespace,
      labelSelector: DOCUMENT_LABEL,
      limit: PAGE,
      ...(next === undefined ? {} : { continue: next }),
    });
  }

  #holder(): Promise<ConfigMap | undefined> {
    const ref = { resource: configMaps, namespace: this.#namespace, name: HOLDER_NAME };
    return this.#kube.get<ConfigMap>(ref);
  }

  /** Throws, and ends the store, when another process has taken it over. */
  async #demandHolder(): Promise<void> {
    const holder = await this.#holder();
    if (holder?.data?.["id"] === this.#id) return;
    const name = holder?.data?.["name"] ?? "nobody: ConfigMap argus-state is gone";
    const message = `The state is held by ${name} now: this gateway may write no more and ends.`;
    const error = new ArgusError("Conflict", message, { holder: name });
    this.#failed.reject(error);
    throw error;
  }

  /** Repeats what the API server did not settle. Throws `Unavailable` when it does not in time or the store is closed. */
  async #patiently<T>(attempt: (isFirst: boolean) => Promise<T>): Promise<T> {
    const deadline = Date.now() + this.#patienceMs;
    for (let tries = 0; ; tries += 1) {
      try {
        return await attempt(tries === 0);
      } catch (error) {
        if (!isUnsettled(error)) throw refusal(error);
        const pauseMs = Math.max(error.retryAfterMs ?? 0, backoffMs(tries, RETRY));
        if (this.#stop.signal.aborted || Date.now() + pauseMs > deadline) throw away(error);
        await systemClock.sleep(pauseMs, this.#stop.signal).catch(() => undefined);
      }
    }
  }
}

/** No answer, or one that says nothing about the write's effect; or somebody else's version was there. */
function isUnsettled(error: unknown): error is KubeError {
  if (!(error instanceof KubeError)) return false;
  const { status } = error;
  return status === 0 || status === 409 || status === 429 || status >= 500 || isNotFound(error);
}
