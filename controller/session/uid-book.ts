import type { ConfigMap } from "#cluster/core-types.ts";
import { isAlreadyExists, isConflict, isNotFound } from "#cluster/kube-error.ts";
import { configMaps } from "#cluster/resources.ts";
import type { KubeClient } from "#cluster/types.ts";
import { ArgusError } from "#lib/errors.ts";
import {
  formatUidTable,
  parseUidTable,
  UidDraft,
  type UidHolder,
  type UidRange,
  type UidTable,
  type Wanted,
} from "./uid-claims.ts";

export interface UidBookOptions {
  kube: KubeClient;
  namespace: string;
  range: UidRange;
  /** User ids that sessions record in their status; survives the loss of the ConfigMap. */
  recorded: () => Iterable<number>;
}

/** ConfigMap that holds all claims of the namespace: one object, so that one compare-and-swap decides. */
const NAME = "argus-uids";
/** A lost swap is tried again this often; each loss means that somebody else's swap went through. */
const MAX_SWAPS = 10;

type Change = (draft: UidDraft) => void;
interface Request {
  change: Change;
  done: PromiseWithResolvers<void>;
}

/**
 * Which session has which user id. Claims are durable before they are given out; requests that come while a swap is under way
 * share the next one. An id is free again only by `release`.
 */
export class UidBook {
  readonly #options: UidBookOptions;
  #table: UidTable = new Map();
  #bySession = new Map<string, number>();
  #byName = new Map<string, UidHolder[]>();
  #object: ConfigMap | undefined;
  #requests: Request[] = [];
  #writing = false;

  constructor(options: UidBookOptions) {
    this.#options = options;
  }

  /** Reads the claims; to be called once before all else. */
  async load(): Promise<void> {
    const { kube, namespace } = this.#options;
    const ref = { resource: configMaps, namespace, name: NAME };
    this.#object = await kube.get<ConfigMap>(ref);
    this.#adopt(parseUidTable(this.#object?.data));
  }

  of(sessionUid: string): number | undefined {
    return this.#bySession.get(sessionUid);
  }

  /** Names of all sessions that hold an id, also of those that are gone. */
  names(): string[] {
    return [...this.#byName.keys()];
  }

  /** The sessions of this name that hold an id: the living one and those before it. */
  holdersNamed(name: string): UidHolder[] {
    return this.#byName.get(name) ?? [];
  }

  async claim(wanted: Wanted): Promise<number> {
    await this.#change((draft) => draft.claim(wanted));
    const uid = this.of(wanted.uid);
    if (uid === undefined)
      throw new ArgusError("Internal", "a claimed user id is not in the table");
    return uid;
  }

  async release(sessionUid: string): Promise<void> {
    if (this.of(sessionUid) === undefined) return;
    await this.#change((draft) => draft.release(sessionUid));
  }

  async #change(change: Change): Promise<void> {
    const done = Promise.withResolvers<void>();
    this.#requests.push({ change, done });
    if (!this.#writing) await this.#writeAll();
    await done.promise;
  }

  /** Writes until no request waits; every request of one round shares its swap. */
  async #writeAll(): Promise<void> {
    this.#writing = true;
    try {
      while (this.#requests.length > 0) await this.#round(this.#requests.splice(0));
    } finally {
      this.#writing = false;
    }
  }

  async #round(requests: Request[]): Promise<void> {
    try {
      await this.#swap(requests);
    } catch (error) {
      for (const { done } of requests) done.reject(error);
    }
  }

  async #swap(requests: Request[]): Promise<void> {
    for (let attempt = 0; attempt < MAX_SWAPS; attempt += 1) {
      const { range, recorded } = this.#options;
      const draft = new UidDraft(this.#table, { range, reserved: new Set(recorded()) });
      const refused = applyAll(draft, requests);
      try {
        if (draft.result) await this.#write(draft.result);
        for (const [{ done }, error] of refused) done.reject(error);
        for (const { done } of requests) done.resolve();
        return;
      } catch (error) {
        // Somebody deleted the object: what we know is written again.
        if (isNotFound(error)) this.#object = undefined;
        else if (isConflict(error) || isAlreadyExists(error)) await this.load();
        else throw error;
      }
    }
    throw new ArgusError(
      "Conflict",
      `ConfigMap ${NAME} changed ${MAX_SWAPS} times under our hands`,
    );
  }

  async #write(table: UidTable): Promise<void> {
    const { kube, namespace } = this.#options;
    const { resourceVersion, uid } = this.#object?.metadata ?? {};
    const object: ConfigMap = {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: NAME, namespace, ...(resourceVersion ? { resourceVersion, uid } : {}) },
      data: formatUidTable(table),
    };
    this.#object = resourceVersion
      ? await kube.replace(configMaps, object)
      : await kube.create(configMaps, object);
    this.#adopt(table);
  }

  #adopt(table: UidTable): void {
    this.#table = table;
    this.#bySession = new Map([...table].map(([number, { uid }]) => [uid, number]));
    this.#byName = Map.groupBy(table.values(), ({ name }) => name);
  }
}

/** One request that cannot be met must not fail the others: its error is in the answer. */
function applyAll(draft: UidDraft, requests: Request[]): Map<Request, unknown> {
  const refused = new Map<Request, unknown>();
  for (const request of requests) {
    try {
      request.change(draft);
    } catch (error) {
      refused.set(request, error);
    }
  }
  return refused;
}
