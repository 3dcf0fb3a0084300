import { createHash } from "node:crypto";
import { chmod, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { EventRecorder } from "#cluster/events.ts";
import { startInformer } from "#cluster/informer.ts";
import { configMaps, persistentVolumeClaims, pods, secrets } from "#cluster/resources.ts";
import type { KubeClient, KubeObject, Resource } from "#cluster/types.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import type { Running } from "#lib/running.ts";
import { AddressPool } from "./addresses.ts";
import { openCgroups, removeCgroups } from "./cgroup.ts";
import { type Claim, ClaimKeeper } from "./claims.ts";
import { FIELD_MANAGER, type KubeletContext } from "./context.ts";
import { mayChangeUser } from "./identity.ts";
import { isolationWarnings } from "./isolation.ts";
import type { LogStore } from "./log-store.ts";
import { NODE_NAME, publishNode } from "./node.ts";
import type { Pod } from "./pod.ts";
import { PodWorker } from "./pod-worker.ts";
import { userWorks } from "./pod-world.ts";
import { recover } from "./recover.ts";
import { RunRecords } from "./run-records.ts";
import { aborted, Wake } from "./wake.ts";

export interface KubeletOptions {
  kube: KubeClient;
  /** Holds `pods/`, `volumes/` and `run/pods.json`. */
  folder: string;
  binFolder: string;
  addressPool: string;
  environment: Readonly<Record<string, string>>;
  logs: LogStore;
  logger: Logger;
}

/** At a stop every container has at most this long to end by itself. */
const STOP_GRACE_MS = 10_000;
const HEARTBEAT_MS = 5 * 60_000;
/** Any unprivileged user, to ask whether pods could run as one. */
const NOBODY = { uid: 65_534, gid: 65_534 };

/**
 * Runs the pods of the one node as child processes. Resolves when what an earlier start left has been ended, the
 * node is registered and the pods are known; aborting the signal ends all their processes and keeps the pods.
 */
export async function startKubelet(
  options: KubeletOptions,
  signal: AbortSignal,
): Promise<Running & { warnings: string[] }> {
  // The caches outlive the signal: the end of the pods is seen through them.
  const life = new AbortController();
  const caches = startCaches(options, life.signal);
  const { context, warnings } = await begin(options, caches, signal).catch((error: unknown) => {
    life.abort();
    throw error;
  });
  const workers = followPods(context, caches, signal);
  const tasks = [
    context.claimKeeper.run(life.signal),
    heartbeat(context, signal),
    ...Object.values(caches).map((informer) => informer.closed),
  ];
  const run = async () => {
    await stopped(context, workers, signal);
    life.abort();
    await Promise.all(tasks);
    // Empty by now; should one not be, the next start removes it.
    if (context.cgroups) await removeCgroups(context.cgroups, true).catch(() => undefined);
  };
  return { closed: run(), warnings };
}

async function begin(options: KubeletOptions, caches: Caches, signal: AbortSignal) {
  const context = await makeContext(options, caches);
  const warnings = await findWarnings(context);
  await publishNode(options.kube, true, Date.now());
  await Promise.all(Object.values(caches).map((informer) => informer.synced(signal)));
  return { context, warnings };
}

function startCaches({ kube, logger }: KubeletOptions, signal: AbortSignal) {
  const watch = <T extends KubeObject>(resource: Resource) =>
    startInformer<T>(kube, resource, { logger }, signal);
  return {
    pods: watch<Pod>(pods),
    claims: watch<Claim>(persistentVolumeClaims),
    secrets: watch(secrets),
    configmaps: watch(configMaps),
  };
}

type Caches = ReturnType<typeof startCaches>;

/** Ends what an earlier start left, then makes what all pods share. */
async function makeContext(options: KubeletOptions, caches: Caches): Promise<KubeletContext> {
  const { kube, folder, logger } = options;
  const runs = await RunRecords.open(join(folder, "run", "pods.json"));
  const cgroups = await openCgroups(createHash("sha256").update(folder).digest("hex").slice(0, 12));
  const lost = await recover(runs, cgroups);
  const podsFolder = await makeFolders(folder);
  const { claims } = caches;
  const claimOptions = { kube, folder: join(folder, "volumes"), claims, pods: caches.pods, logger };
  return {
    ...options,
    podsFolder,
    addresses: new AddressPool(options.addressPool, folder),
    claims,
    pods: caches.pods,
    claimKeeper: new ClaimKeeper(claimOptions),
    events: new EventRecorder({ kube, component: FIELD_MANAGER, logger }),
    runs,
    cgroups,
    lost,
    userChecks: new Map(),
  };
}

async function findWarnings(context: KubeletContext): Promise<string[]> {
  const { cgroups } = context;
  const root = mayChangeUser();
  const users = root && (await userWorks(NOBODY, context));
  return isolationWarnings({
    platform: process.platform,
    users,
    root,
    limits: cgroups !== undefined,
  });
}

/** Other users may pass through, not look inside. */
async function makeFolders(folder: string): Promise<string> {
  for (const path of [folder, join(folder, "pods"), join(folder, "volumes")]) {
    await mkdir(path, { recursive: true });
    await chmod(path, mayChangeUser() ? 0o711 : 0o700);
  }
  return join(folder, "pods");
}

type Workers = Map<string, PodWorker>;

/** One worker for each pod of this node, by uid. */
function followPods(
  context: KubeletContext,
  { pods: podCache, secrets, configmaps }: Caches,
  signal: AbortSignal,
): Workers {
  const workers: Workers = new Map();
  const look = (pod: Pod) => {
    const { uid = "" } = pod.metadata;
    const known = workers.get(uid);
    if (known) return known.update(pod);
    if (signal.aborted || (pod.spec.nodeName ?? NODE_NAME) !== NODE_NAME) return;
    const worker = new PodWorker(pod, context);
    workers.set(uid, worker);
    void worker.done.then(() => {
      workers.delete(uid);
      context.claimKeeper.look();
    });
  };
  // Addresses of all pods first, so that a new one takes none of them.
  for (const { metadata, status } of podCache.list()) {
    if (status?.podIP) context.addresses.reserve(metadata.uid ?? "", status.podIP);
  }
  for (const pod of podCache.list()) look(pod);
  podCache.onChange((_key, pod, change) => {
    if (change === "deleted") workers.get(pod.metadata.uid ?? "")?.gone();
    else look(pod);
    context.claimKeeper.look();
  });
  context.claims.onChange(() => {
    context.claimKeeper.look();
    for (const worker of workers.values()) worker.resync();
  });
  for (const [plural, informer] of Object.entries({ secrets, configmaps })) {
    informer.onChange((_key, { metadata }) => {
      for (const worker of workers.values()) worker.resync(`${plural}/${metadata.name}`);
    });
  }
  return workers;
}

async function heartbeat({ kube, logger }: KubeletContext, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await new Wake().wait(HEARTBEAT_MS, signal);
    if (signal.aborted) return;
    await publishNode(kube, true, Date.now()).catch((error: unknown) => {
      logger.warn({ error: errorMessage(error) }, "node status not written");
    });
  }
}

async function stopped(
  context: KubeletContext,
  workers: Workers,
  signal: AbortSignal,
): Promise<void> {
  await aborted(signal);
  const ending = [...workers.values()];
  for (const worker of ending) worker.stop(STOP_GRACE_MS);
  await Promise.all(ending.map((worker) => worker.done));
  await publishNode(context.kube, false, Date.now()).catch((error: unknown) => {
    context.logger.warn({ error: errorMessage(error) }, "node status not written");
  });
}
