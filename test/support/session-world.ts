import { isDeepStrictEqual } from "node:util";
import fastJsonPatch, { type Operation } from "fast-json-patch";
import type { PersistentVolumeClaim, Pod } from "#cluster/core-types.ts";
import { EventRecorder } from "#cluster/events.ts";
import { KubeError } from "#cluster/kube-error.ts";
import { isControlledBy, keyOf } from "#cluster/objects.ts";
import {
  argusSessions,
  networkPolicies,
  persistentVolumeClaims,
  pods,
  services,
} from "#cluster/resources.ts";
import type { Informer, KubeClient, KubeObject, ObjectRef, Resource } from "#cluster/types.ts";
import type { NetworkPolicy } from "#controller/network/policies.ts";
import { BridgeReader } from "#controller/session/bridge-reader.ts";
import { SessionReconciler } from "#controller/session/reconcile.ts";
import { UidBook } from "#controller/session/uid-book.ts";
import { Troubles } from "#controller/troubles.ts";
import { Written } from "#controller/written.ts";
import { ArgusSessionSpec, type ArgusSessionSpecInput } from "#crds/argus-session.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { silentLogger } from "#lib/logger.ts";
import { LABEL } from "#protocol/pod.ts";
import { ManualClock } from "./manual-clock.ts";
import { SETTINGS } from "./sessions.ts";

const NAMESPACE = "default";
export const KEY = "default/main";

/** The process died: nothing that it does afterwards counts. */
export class Crash extends Error {}

/** What becomes of one write: nothing happens and the process dies, it happens and the process dies, or its answer is lost. */
export type Fate = "before" | "after" | "lost" | undefined;

interface Logged {
  resource: string;
  object: KubeObject;
  gone: boolean;
}

/**
 * One session's API server, kubelet and garbage collector in memory, on a virtual clock, with caches that are behind by as much as
 * the test says. What it assumes about the API server is held by the contract suite.
 */
export class SessionWorld {
  readonly clock = new ManualClock();
  readonly objects = new Map<string, KubeObject>();
  readonly log: Logged[] = [];
  /** Writes that were tried, events included: `create pods`. */
  readonly writes: string[] = [];
  /** Creates that found their name taken. */
  collisions = 0;
  fate: (write: string, index: number) => Fate = () => undefined;
  #uids = 0;

  /** A controller that knows nothing yet; its caches show everything up to now. */
  async controller(gate = true): Promise<SimulatedController> {
    const controller = new SimulatedController(this, gate);
    await controller.begin();
    return controller;
  }

  put(resource: Resource, object: KubeObject): KubeObject {
    const path = pathOf(resource, object.metadata);
    const old = this.objects.get(path);
    const { resourceVersion: _, ...metadata } = object.metadata;
    const next: KubeObject = { ...object, metadata };
    if (old) {
      const { resourceVersion: __, ...before } = old.metadata;
      if (isDeepStrictEqual({ ...old, metadata: before }, next)) return old;
    }
    const stored = structuredClone(next);
    stored.metadata.uid ??= `uid-${(this.#uids += 1)}`;
    stored.metadata.creationTimestamp ??= this.#time();
    stored.metadata.resourceVersion = String(this.log.length + 1);
    this.objects.set(path, stored);
    this.log.push({ resource: resource.plural, object: stored, gone: false });
    return stored;
  }

  remove(resource: Resource, object: KubeObject): void {
    this.objects.delete(pathOf(resource, object.metadata));
    this.log.push({ resource: resource.plural, object, gone: true });
  }

  all<T extends KubeObject>({ plural }: Resource): T[] {
    return [...this.objects]
      .filter(([path]) => path.startsWith(`${plural}/`))
      .map(([, object]) => object as T);
  }

  session(): ArgusSession | undefined {
    return this.all<ArgusSession>(argusSessions)[0];
  }

  /** What a person writes. */
  apply(spec: ArgusSessionSpecInput): void {
    const old = this.session();
    const metadata = old?.metadata ?? { name: "main", namespace: NAMESPACE };
    const generation = (metadata.generation ?? 0) + 1;
    const object = {
      ...old,
      metadata: { ...metadata, generation },
      spec: ArgusSessionSpec.parse(spec),
    };
    this.put(argusSessions, object);
  }

  /** What the gateway writes. */
  demand(demand: "Open" | "None"): void {
    const session = this.session();
    if (!session) return;
    const activity = { demand, since: this.#time() };
    this.put(argusSessions, { ...session, status: { ...session.status, activity } } as KubeObject);
  }

  deleteSession(): void {
    const session = this.session();
    if (session) this.#delete(argusSessions, session);
  }

  /** One round of kubelet, volume binder and garbage collector; true = something happened. */
  kubelet(): boolean {
    const before = this.log.length;
    for (const pod of this.all<Pod>(pods)) {
      if (pod.metadata.deletionTimestamp) this.remove(pods, pod);
      else this.put(pods, { ...pod, status: READY } as KubeObject);
    }
    for (const resource of [pods, persistentVolumeClaims, services, networkPolicies]) {
      for (const child of this.all(resource)) {
        const owner = child.metadata.ownerReferences?.[0];
        if (owner && owner.uid !== this.session()?.metadata.uid) this.#delete(resource, child);
      }
    }
    return this.log.length > before;
  }

  async client(dead: () => boolean, die: () => void): Promise<KubeClient> {
    const write = async <T>(verb: string, { plural }: Resource, effect: () => T): Promise<T> => {
      if (dead()) throw new Crash();
      this.writes.push(`${verb} ${plural}`);
      const fate = this.fate(`${verb} ${plural}`, this.writes.length - 1);
      if (fate === "before" || fate === "after") die();
      if (fate === "before") throw new Crash();
      const answer = effect();
      if (fate === "after") throw new Crash();
      if (fate === "lost") throw new KubeError({ call: verb, status: 0 });
      return answer;
    };
    const found = (ref: ObjectRef) => {
      const object = this.objects.get(pathOf(ref.resource, ref));
      if (!object) throw failure(404, "NotFound");
      return object;
    };
    return {
      get: async (ref: ObjectRef) => structuredClone(this.objects.get(pathOf(ref.resource, ref))),
      list: async (resource: Resource, { labelSelector = "" } = {}) => {
        const [label = "", value] = labelSelector.split("=");
        const items = this.all(resource).filter(
          ({ metadata }) => metadata.labels?.[label] === value,
        );
        return { items, resourceVersion: String(this.log.length) };
      },
      create: (resource: Resource, object: KubeObject) =>
        write("create", resource, () => {
          if (this.objects.has(pathOf(resource, object.metadata))) {
            this.collisions += 1;
            throw failure(409, "AlreadyExists");
          }
          return this.put(resource, object);
        }),
      replace: (resource: Resource, object: KubeObject) =>
        write("replace", resource, () => {
          const old = found({ resource, namespace: NAMESPACE, name: object.metadata.name });
          if (old.metadata.resourceVersion !== object.metadata.resourceVersion)
            throw failure(409, "Conflict");
          return this.put(resource, object);
        }),
      apply: (resource: Resource, object: KubeObject) =>
        write("apply", resource, () => this.put(resource, object)),
      applyStatus: (resource: Resource, object: KubeObject & { status?: object }) =>
        write("applyStatus", resource, () => {
          const { name, uid, resourceVersion } = object.metadata;
          const old = found({ resource, namespace: NAMESPACE, name }) as ArgusSession;
          const stale = resourceVersion && resourceVersion !== old.metadata.resourceVersion;
          if (stale || uid !== old.metadata.uid) throw failure(409, "Conflict");
          const { activity } = old.status ?? {};
          const status = { ...object.status, ...(activity ? { activity } : {}) };
          return this.put(resource, { ...old, status } as KubeObject);
        }),
      jsonPatch: (ref: ObjectRef, patch: Operation[]) =>
        write("jsonPatch", ref.resource, () => {
          const { newDocument } = fastJsonPatch.applyPatch(
            structuredClone(found(ref)),
            patch,
            true,
          );
          return this.put(ref.resource, newDocument);
        }),
      delete: (ref: ObjectRef, { uid }: { uid?: string } = {}) =>
        write("delete", ref.resource, () => {
          const old = found(ref);
          if (uid && old.metadata.uid !== uid) throw failure(409, "Conflict");
          this.#delete(ref.resource, old);
        }),
    } as unknown as KubeClient;
  }

  /** Pods end in their own time. */
  #delete(resource: Resource, object: KubeObject): void {
    if (resource !== pods) this.remove(resource, object);
    else if (!object.metadata.deletionTimestamp) {
      const metadata = { ...object.metadata, deletionTimestamp: this.#time() };
      this.put(resource, { ...object, metadata });
    }
  }

  #time(): string {
    return new Date(this.clock.now()).toISOString().replace(/\.\d+Z$/, "Z");
  }
}

const READY = {
  phase: "Running",
  conditions: [
    { type: "PodScheduled", status: "True" },
    { type: "Ready", status: "True" },
  ],
  containerStatuses: [
    { name: "agent", ready: true, state: { running: { startedAt: "2030-01-01T00:00:00Z" } } },
  ],
};

/** A cache that shows the first `seen` entries of the log. */
class LaggingCache<T extends KubeObject> {
  seen = 0;
  readonly #objects = new Map<string, T>();
  readonly #world: SessionWorld;
  readonly #plural: string;
  readonly informer: Informer<T>;

  constructor(world: SessionWorld, { plural }: Resource) {
    this.#world = world;
    this.#plural = plural;
    this.informer = {
      get: (key: string) => this.#objects.get(key),
      list: () => [...this.#objects.values()],
      version: () => String(this.seen),
      silenceMs: () => 0,
    } as unknown as Informer<T>;
  }

  /** Shows up to so many more entries. */
  deliver(count = Number.POSITIVE_INFINITY): void {
    const until = Math.min(this.#world.log.length, this.seen + count);
    for (; this.seen < until; this.seen += 1) {
      const entry = this.#world.log[this.seen];
      if (entry?.resource !== this.#plural) continue;
      if (entry.gone) this.#objects.delete(keyOf(entry.object));
      else this.#objects.set(keyOf(entry.object), entry.object as T);
    }
  }
}

/** One incarnation of the controller, driven by hand. */
export class SimulatedController {
  readonly caches: LaggingCache<KubeObject>[];
  dead = false;
  readonly #world: SessionWorld;
  readonly #gate: boolean;
  #reconciler: SessionReconciler | undefined;
  #events: EventRecorder | undefined;

  constructor(world: SessionWorld, gate: boolean) {
    this.#world = world;
    this.#gate = gate;
    const watched = [argusSessions, pods, persistentVolumeClaims, services, networkPolicies];
    this.caches = watched.map((resource) => new LaggingCache(world, resource));
  }

  async begin(): Promise<void> {
    const world = this.#world;
    const { clock } = world;
    const kube = await world.client(
      () => this.dead,
      () => {
        this.dead = true;
      },
    );
    for (const cache of this.caches) cache.deliver();
    const [sessions, podCache, claims, serviceCache, policies] = this.caches.map(
      ({ informer }) => informer,
    );
    const book = new UidBook({
      kube,
      namespace: NAMESPACE,
      range: { first: 200_000, last: 200_099 },
      recorded: () => [],
    });
    await book.load();
    const written = new Written(clock);
    if (!this.#gate) written.isSeen = () => true;
    const logger = silentLogger();
    const belongs = (uid: string) => (each: KubeObject) =>
      each.metadata.labels?.[LABEL.sessionUid] === uid;
    this.#events = new EventRecorder({ kube, component: "argus-controller", logger, clock });
    this.#reconciler = new SessionReconciler({
      kube,
      sessions: sessions as Informer<ArgusSession>,
      pods: podCache as Informer<Pod>,
      claims: claims as Informer<PersistentVolumeClaim>,
      services: serviceCache as Informer<KubeObject>,
      policies: policies as Informer<NetworkPolicy>,
      podsOf: (uid) => (podCache?.list() ?? []).filter(belongs(uid)) as Pod[],
      claimsOf: (uid) => (claims?.list() ?? []).filter(belongs(uid)) as PersistentVolumeClaim[],
      book,
      claimEvents: { words: () => undefined },
      bridges: new BridgeReader({ logger, clock, onChange: () => undefined }),
      written,
      troubles: new Troubles(logger),
      events: this.#events,
      settings: SETTINGS,
      serviceAccountExists: true,
      clock,
    });
  }

  /** One look at the session; whatever it throws is what a queue would repeat. */
  async reconcile(): Promise<void> {
    await this.#reconciler?.reconcile(KEY).catch(() => undefined);
    await this.#events?.flushed();
  }

  /** The term ends in order. */
  async finish(): Promise<void> {
    await this.#reconciler?.finish();
    this.dead = true;
  }
}

function pathOf({ plural }: Resource, { name }: { name: string }): string {
  return `${plural}/${name}`;
}

function failure(status: number, reason: string): KubeError {
  return new KubeError({ call: "x", status, answer: { reason } });
}

/** Pods that belong to the session. */
export function ownPods(world: SessionWorld): Pod[] {
  return world.all<Pod>(pods).filter((pod) => isControlledBy(pod, world.session()?.metadata.uid));
}
