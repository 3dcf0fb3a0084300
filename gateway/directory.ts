import { randomBytes } from "node:crypto";
import { argusSessions } from "#cluster/resources.ts";
import type { Informer, KubeClient } from "#cluster/types.ts";
import type { ArgusSessionSpecInput } from "#crds/argus-session.ts";
import { API_VERSION, type ArgusSession } from "#crds/kinds.ts";
import { belongsTo, type Pod, sessionNameOf } from "./pod.ts";
import { FINALIZER } from "./sessions/finalizer.ts";

/** Marks the sessions that the gateway made. */
export const CREATED_BY = { "argus.dev/created-by": "gateway" };
const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

export interface DirectoryOptions {
  kube: KubeClient;
  namespace: string;
  sessions: Informer<ArgusSession>;
  pods: Informer<Pod>;
  template: ArgusSessionSpecInput;
}

/** Sessions and their pods as the API server has them; makes and deletes sessions on a client's request. */
export class Directory {
  readonly #options: DirectoryOptions;
  /** Session name → keys of its pods in the informer. */
  readonly #podsOf = new Map<string, Set<string>>();
  readonly #podByUid = new Map<string, string>();
  readonly #watchers = new Map<string, Set<() => void>>();
  readonly #all = new Set<(name: string) => void>();

  constructor(options: DirectoryOptions) {
    this.#options = options;
    options.sessions.onChange((_, { metadata }) => this.#tell(metadata.name));
    options.pods.onChange((key, pod, change) => this.#podChanged(key, pod, change === "deleted"));
  }

  session(name: string): ArgusSession | undefined {
    return this.#options.sessions.get(`${this.#options.namespace}/${name}`);
  }

  sessions(): ArgusSession[] {
    return this.#options.sessions.list();
  }

  /** The session, asking the API server when the cache does not have it (yet). Throws KubeError. */
  async find(name: string): Promise<ArgusSession | undefined> {
    if (!NAME.test(name)) return undefined;
    const { kube, namespace } = this.#options;
    return (
      this.session(name) ??
      (await kube.get<ArgusSession>({ resource: argusSessions, namespace, name }))
    );
  }

  /** Makes the session from the template, unless it exists. */
  async ensure(name: string): Promise<{ session: ArgusSession; created: boolean }> {
    const found = await this.find(name);
    if (found) return { session: found, created: false };
    try {
      return { session: await this.#create(name), created: true };
    } catch (error) {
      // Another client may have been faster.
      const other = await this.find(name);
      if (!other) throw error;
      return { session: other, created: false };
    }
  }

  /** A session under a new name of 12 hex digits. */
  createNew(): Promise<ArgusSession> {
    return this.#create(randomBytes(6).toString("hex"));
  }

  async remove(session: ArgusSession): Promise<void> {
    const { kube, namespace } = this.#options;
    const { name, uid } = session.metadata;
    await kube.delete({ resource: argusSessions, namespace, name }, uid ? { uid } : {});
  }

  /** The pod of exactly this session object, the one that is not being deleted first. */
  podOf(session: ArgusSession): Pod | undefined {
    const keys = [...(this.#podsOf.get(session.metadata.name) ?? [])];
    const pods = keys
      .map((key) => this.#options.pods.get(key))
      .filter((pod): pod is Pod => pod !== undefined && belongsTo(pod, session));
    return pods.find(({ metadata }) => !metadata.deletionTimestamp) ?? pods[0];
  }

  podByUid(uid: string): Pod | undefined {
    const key = this.#podByUid.get(uid);
    return key === undefined ? undefined : this.#options.pods.get(key);
  }

  /** Calls `handler` with each session that comes or changes. */
  watchAll(handler: (session: ArgusSession) => void): void {
    this.#options.sessions.onChange((_, session, change) => {
      if (change !== "deleted") handler(session);
    });
  }

  /** Calls `handler` with the name of each session that changed or went, or one of whose pods did. */
  watchNames(handler: (name: string) => void): void {
    this.#all.add(handler);
  }

  /** Calls `handler` after each change of the session or one of its pods. Returns the unsubscribe function. */
  watch(name: string, handler: () => void): () => void {
    const handlers = this.#watchers.get(name) ?? new Set();
    this.#watchers.set(name, handlers.add(handler));
    return () => {
      handlers.delete(handler);
      if (handlers.size === 0 && this.#watchers.get(name) === handlers) this.#watchers.delete(name);
    };
  }

  #create(name: string): Promise<ArgusSession> {
    const { kube, namespace, template } = this.#options;
    return kube.create<ArgusSession>(argusSessions, {
      apiVersion: API_VERSION,
      kind: "ArgusSession",
      metadata: { name, namespace, labels: CREATED_BY, finalizers: [FINALIZER] },
      // The API server fills in the defaults.
      spec: template as ArgusSession["spec"],
    });
  }

  #podChanged(key: string, pod: Pod, deleted: boolean): void {
    const { uid } = pod.metadata;
    const name = sessionNameOf(pod);
    if (uid && deleted) this.#podByUid.delete(uid);
    else if (uid) this.#podByUid.set(uid, key);
    if (name === undefined) return;
    const keys = this.#podsOf.get(name) ?? new Set();
    if (deleted) keys.delete(key);
    else keys.add(key);
    if (keys.size > 0) this.#podsOf.set(name, keys);
    else this.#podsOf.delete(name);
    this.#tell(name);
  }

  #tell(name: string): void {
    for (const handler of this.#all) handler(name);
    for (const handler of Array.from(this.#watchers.get(name) ?? [])) handler();
  }
}
