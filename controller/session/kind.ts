import type { PersistentVolumeClaim, Pod } from "#cluster/core-types.ts";
import { EventRecorder } from "#cluster/events.ts";
import { IndexBy } from "#cluster/index-by.ts";
import { startInformer } from "#cluster/informer.ts";
import { persistentVolumeClaims, pods, serviceAccounts, services } from "#cluster/resources.ts";
import type { Informer, KubeObject } from "#cluster/types.ts";
import { ArgusSessionSpec } from "#crds/argus-session.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { systemClock } from "#lib/clock.ts";
import type { Running } from "#lib/running.ts";
import type { Priority, WorkQueue } from "#lib/workqueue.ts";
import { LABEL, POD } from "#protocol/pod.ts";
import { follow, type Kind, type KindTerm, type Work } from "../kind.ts";
import type { PolicyCache } from "../network/kind.ts";
import type { NetworkPolicy } from "../network/policies.ts";
import type { ControllerOptions } from "../options.ts";
import { persist } from "../persist.ts";
import { Written } from "../written.ts";
import { BridgeReader } from "./bridge-reader.ts";
import { ClaimEvents } from "./claim-events.ts";
import { leanPod } from "./lean-pod.ts";
import { takesPidLimits } from "./pid-resource.ts";
import { buildPod } from "./pod.ts";
import { SessionReconciler } from "./reconcile.ts";
import { UidBook } from "./uid-book.ts";

/** Each has one or two calls under way. */
const WORKERS = 32;

export interface SessionKindOptions {
  options: ControllerOptions;
  sessions: Informer<ArgusSession> & Running;
  policies: PolicyCache;
}

/** ArgusSessions with their pods, volume claims and user ids. */
export function sessionKind(
  { options, sessions, policies }: SessionKindOptions,
  signal: AbortSignal,
): Kind {
  const { kube, namespace, logger } = options;
  const children = { namespace, labelSelector: LABEL.sessionUid, logger };
  const caches = {
    sessions,
    pods: startInformer<Pod>(kube, pods, { ...children, transform: leanPod }, signal),
    claims: startInformer<PersistentVolumeClaim>(kube, persistentVolumeClaims, children, signal),
    services: startInformer(kube, services, children, signal),
    policies,
  };
  const podsOf = new IndexBy(caches.pods, sessionUidOf);
  const claimsOf = new IndexBy(caches.claims, sessionUidOf);
  const world = { options, caches, podsOf, claimsOf };
  return {
    name: "argussession",
    caches,
    workers: WORKERS,
    begin: (term, termSignal) => begin(world, term, termSignal),
  };
}

interface World {
  options: ControllerOptions;
  caches: {
    sessions: Informer<ArgusSession>;
    pods: Informer<Pod>;
    claims: Informer<PersistentVolumeClaim>;
    services: Informer<KubeObject>;
    policies: Informer<NetworkPolicy>;
  };
  podsOf: IndexBy<Pod>;
  claimsOf: IndexBy<PersistentVolumeClaim>;
}

/** Everything that must be known before the first decision. */
async function begin(world: World, term: KindTerm, signal: AbortSignal): Promise<Work> {
  const { options, caches, podsOf, claimsOf } = world;
  const { namespace, uidRange, logger } = options;
  const { kube, queue, troubles } = term;
  const recorded = () => caches.sessions.list().flatMap(({ status }) => status?.runAsUser ?? []);
  const book = new UidBook({ kube, namespace, range: uidRange, recorded });
  await persist(() => book.load(), { logger, troubles }, signal);
  const account = { resource: serviceAccounts, namespace, name: POD.serviceAccount };
  const pidLimits = await takesPidLimits(kube, { namespace, sample: samplePod(options), logger });
  const found = await persist(() => kube.get(account), { logger, troubles }, signal);
  enqueue(world, queue, signal);
  // Ids of sessions that went while no controller ran.
  for (const name of book.names()) queue.add(`${namespace}/${name}`, "low");
  const events = new EventRecorder({ kube, component: "argus-controller", logger });
  const sessions = new SessionReconciler({
    kube,
    ...caches,
    podsOf: (uid) => podsOf.get(uid),
    claimsOf: (uid) => claimsOf.get(uid),
    book,
    claimEvents: new ClaimEvents({
      kube,
      logger,
      onChange: (claim) => enqueueOwner(queue, claim, "high"),
    }),
    bridges: new BridgeReader({ logger, onChange: (pod) => enqueueOwner(queue, pod, "high") }),
    written: new Written(),
    troubles,
    events,
    settings: { ...options, pidLimits },
    serviceAccountExists: found !== undefined,
    clock: options.clock ?? systemClock,
  });
  return {
    reconcile: (key) => sessions.reconcile(key),
    finish: async () => {
      await sessions.finish();
      await events.flushed();
    },
  };
}

/** The pod of a session that nobody made. */
function samplePod(options: ControllerOptions): Pod {
  const metadata = { name: "sample", namespace: options.namespace, uid: "sample" };
  const session = { metadata, spec: ArgusSessionSpec.parse({}) };
  return buildPod(session as ArgusSession, options.uidRange.first, options);
}

/** What is there already waits behind what happens now. */
function enqueue({ caches, podsOf }: World, queue: WorkQueue, signal: AbortSignal): void {
  for (const { metadata } of caches.sessions.list()) {
    queue.add(`${metadata.namespace}/${metadata.name}`, "low");
  }
  // Whoever has no pod waits for one; for all others it is only the status that may be late.
  follow(caches.sessions, signal, (key, { metadata }) => {
    queue.add(key, podsOf.get(metadata.uid ?? "").length > 0 ? "high" : "urgent");
  });
  follow(caches.pods, signal, (_, pod, change) => {
    enqueueOwner(queue, pod, change === "deleted" ? "urgent" : "high");
  });
  for (const cache of [caches.claims, caches.services, caches.policies]) {
    follow<KubeObject>(cache, signal, (_, child) => enqueueOwner(queue, child, "high"));
  }
}

function enqueueOwner(queue: WorkQueue, { metadata }: KubeObject, priority: Priority): void {
  const session = metadata.annotations?.[LABEL.sessionName];
  if (session) queue.add(`${metadata.namespace}/${session}`, priority);
}

function sessionUidOf({ metadata }: KubeObject): string | undefined {
  return metadata.labels?.[LABEL.sessionUid];
}
