import type { PersistentVolumeClaim, Pod } from "#cluster/core-types.ts";
import { EventRecorder } from "#cluster/events.ts";
import { IndexBy } from "#cluster/index-by.ts";
import { startInformer } from "#cluster/informer.ts";
import {
  argusSessions,
  persistentVolumeClaims,
  pods,
  serviceAccounts,
} from "#cluster/resources.ts";
import type { Informer, KubeObject } from "#cluster/types.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { backoffMs, systemClock } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Listening, Running } from "#lib/running.ts";
import { type Priority, WorkQueue } from "#lib/workqueue.ts";
import { LABEL, POD } from "#protocol/pod.ts";
import { startHealth } from "./health.ts";
import { controllerMetrics } from "./metrics.ts";
import type { ControllerOptions } from "./options.ts";
import { startReconciler } from "./reconciler.ts";
import { BridgeReader } from "./session/bridge-reader.ts";
import { leanPod } from "./session/lean-pod.ts";
import { SessionReconciler } from "./session/reconcile.ts";
import { UidBook } from "./session/uid-book.ts";
import { Written } from "./written.ts";

const WORKERS = 16;
/** Bookmarks come about each minute; a cache that heard nothing for longer may be behind. */
const STALE_MS = 120_000;

interface Caches {
  sessions: Informer<ArgusSession> & Running;
  pods: Informer<Pod> & Running;
  claims: Informer<PersistentVolumeClaim> & Running;
}

/**
 * Makes the cluster match the ArgusSessions of one namespace. Resolves once health is served; work begins when the caches are
 * synced. Aborting `signal` lets the reconciles under way end first.
 */
export async function startController(
  options: ControllerOptions,
  signal: AbortSignal,
): Promise<Listening> {
  const queue = new WorkQueue();
  const metrics = controllerMetrics("argussession", queue);
  const caches = startCaches(options, signal);
  const progress = { working: false };
  const health = await startHealth(
    {
      host: options.host,
      port: options.port,
      unready: () => unreadyReasons(caches, progress.working),
      registry: metrics.registry,
    },
    signal,
  );
  const working = work({ options, caches, queue, metrics }, signal, () => {
    progress.working = true;
  });
  const informers = Object.values(caches).map((cache) => cache.closed);
  const closed = Promise.all([working, ...informers, health.closed]).then(() => undefined);
  return { host: health.host, port: health.port, closed };
}

function startCaches(options: ControllerOptions, signal: AbortSignal): Caches {
  const { kube, namespace, logger } = options;
  const children = { namespace, labelSelector: LABEL.sessionUid, logger };
  return {
    sessions: startInformer(kube, argusSessions, { namespace, logger }, signal),
    pods: startInformer<Pod>(kube, pods, { ...children, transform: leanPod }, signal),
    claims: startInformer<PersistentVolumeClaim>(kube, persistentVolumeClaims, children, signal),
  };
}

interface Parts {
  options: ControllerOptions;
  caches: Caches;
  queue: WorkQueue;
  metrics: ReturnType<typeof controllerMetrics>;
}

async function work(parts: Parts, signal: AbortSignal, onStart: () => void): Promise<void> {
  const { options, caches, queue, metrics } = parts;
  const { logger } = options;
  try {
    const sessions = await prepare(parts, signal);
    logger.info({ sessions: caches.sessions.list().length }, "controller works");
    onStart();
    await startReconciler(
      {
        name: "argussession",
        queue,
        reconcile: (key) => sessions.reconcile(key),
        workers: WORKERS,
        metrics,
        logger,
      },
      signal,
    ).closed;
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Everything that must be known before the first decision. */
async function prepare(parts: Parts, signal: AbortSignal): Promise<SessionReconciler> {
  const { options, caches, queue } = parts;
  const { kube, namespace, uidRange, logger } = options;
  enqueueOnChange(parts);
  const recorded = () => caches.sessions.list().flatMap(({ status }) => status?.runAsUser ?? []);
  const book = new UidBook({ kube, namespace, range: uidRange, recorded });
  await persist(parts, signal, () => book.load());
  const account = { resource: serviceAccounts, namespace, name: POD.serviceAccount };
  const found = await persist(parts, signal, () => kube.get(account));
  await Promise.all(Object.values(caches).map((cache) => cache.synced(signal)));
  // Ids of sessions that went while no controller ran.
  for (const name of book.names()) queue.add(`${namespace}/${name}`, "low");
  const podsOf = new IndexBy(caches.pods, sessionUidOf);
  const claimsOf = new IndexBy(caches.claims, sessionUidOf);
  return new SessionReconciler({
    kube,
    ...caches,
    podsOf: (uid) => podsOf.get(uid),
    claimsOf: (uid) => claimsOf.get(uid),
    book,
    bridges: new BridgeReader({ logger, onChange: (pod) => enqueueOwner(queue, pod, "high") }),
    written: new Written(),
    events: new EventRecorder({ kube, component: "argus-controller", logger }),
    settings: options,
    serviceAccountExists: found !== undefined,
    clock: systemClock,
  });
}

/** Repeats a read until it succeeds: an API server that is away at the start is waited for. */
async function persist<T>(
  { options }: Parts,
  signal: AbortSignal,
  read: () => Promise<T>,
): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await read();
    } catch (error) {
      signal.throwIfAborted();
      options.logger.warn({ error: errorMessage(error) }, "waiting for the Kubernetes API");
      await systemClock.sleep(backoffMs(attempt, { baseMs: 500, maxMs: 30_000 }), signal);
    }
  }
}

/** Handlers only enqueue; what was there before the first sync waits behind what happens now. */
function enqueueOnChange({ caches, queue }: Parts): void {
  let priority: Priority = "low";
  const live = () => {
    priority = "high";
  };
  Promise.all(Object.values(caches).map((cache) => cache.synced())).then(live, () => undefined);
  for (const { metadata } of caches.sessions.list()) {
    queue.add(`${metadata.namespace}/${metadata.name}`, priority);
  }
  caches.sessions.onChange((key) => queue.add(key, priority));
  caches.pods.onChange((_, pod) => enqueueOwner(queue, pod, priority));
  caches.claims.onChange((_, claim) => enqueueOwner(queue, claim, priority));
}

function enqueueOwner(queue: WorkQueue, { metadata }: KubeObject, priority: Priority): void {
  const session = metadata.annotations?.[LABEL.sessionName];
  if (session) queue.add(`${metadata.namespace}/${session}`, priority);
}

function sessionUidOf({ metadata }: KubeObject): string | undefined {
  return metadata.labels?.[LABEL.sessionUid];
}

function unreadyReasons(caches: Caches, working: boolean): string[] {
  const stale = Object.entries(caches)
    .filter(([, cache]) => cache.silenceMs() > STALE_MS)
    .map(([name]) => `the cache of ${name} heard nothing from the API server for two minutes`);
  return working ? stale : ["the caches are not synced yet", ...stale];
}
