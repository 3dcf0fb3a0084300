import { createKubeClient } from "#cluster/client.ts";
import { startInformer } from "#cluster/informer.ts";
import { isAlreadyExists, isConflict, isNotFound } from "#cluster/kube-error.ts";
import { configMaps } from "#cluster/resources.ts";
import type { Informer, KubeClient, KubeObject } from "#cluster/types.ts";
import { silentLogger } from "#lib/logger.ts";
import type { Running } from "#lib/running.ts";
import type { ApiPeer } from "./api-peer.ts";
import { eventually } from "./eventually.ts";
import { RandomFaults } from "./fault-proxy/faults.ts";
import type { ProxiedRequest } from "./fault-proxy/request.ts";
import { FaultProxy } from "./fault-proxy.ts";
import { freshNamespace } from "./namespaces.ts";

export interface WatchFaultsOptions {
  peer: ApiPeer;
  /** So many are injected, at least. */
  faults: number;
  seed?: number;
  /** Informers that watch at once, each with connections of its own. */
  watchers?: number;
  http2?: boolean;
  say?: (text: string) => void;
}

export interface WatchFaultsResult {
  seed: number;
  injected: number;
  /** By kind. */
  counts: Map<string, number>;
  changes: number;
  /** Caches that were compared with a fresh list while no fault was injected. */
  compared: number;
  /** Those that did not equal it within half a minute, with the first difference. */
  wrong: string[];
  connections: number;
}

const MAPS = 30;
const CHECKS = 10;
/** Short waits, so that thousands of faults take minutes; what is waited for is the same. */
const QUICK = { silenceLimitMs: 1000, backoff: { baseMs: 5, maxMs: 80 } };

interface Watcher {
  kube: KubeClient;
  informer: Informer<KubeObject> & Running;
  /** What the change handlers were told: name → uid@version. */
  told: Map<string, string>;
  /** An object was exchanged for another one under its name without being deleted. */
  swaps: number;
}

/** Watches one collection through a proxy that breaks things, while objects change; compares the caches with fresh lists. */
export async function watchThroughFaults(options: WatchFaultsOptions): Promise<WatchFaultsResult> {
  const { peer, faults, watchers: count = 8, http2 = true, say = () => undefined } = options;
  const random = new RandomFaults(options.seed);
  const kube = await createKubeClient({ kubeconfig: peer.kubeconfig, logger: silentLogger() });
  const namespace = await freshNamespace(kube, "faults");
  let active = true;
  const decide = ({ verb, resource }: ProxiedRequest) => {
    const reads = active && resource === "configmaps" && (verb === "watch" || verb === "list");
    return reads && random.below(3) === 0 ? random.ofRead() : undefined;
  };
  const proxy = await FaultProxy.start(peer, { http2, decide });
  const stop = new AbortController();
  const result = { seed: random.seed, changes: 0, compared: 0, wrong: [] as string[] };
  const watchers: Watcher[] = [];
  try {
    for (let i = 0; i < count; i += 1) watchers.push(await watch(proxy, namespace, stop.signal));
    for (let check = 1; check <= CHECKS; check += 1) {
      active = true;
      while (random.injected < (faults * check) / CHECKS) {
        await change({ kube, namespace, random });
        result.changes += 1;
        if (proxy.openWatches > 0) proxy.strike(random.ofStream(), random);
      }
      active = false;
      for (const watcher of watchers) {
        const difference = await compare(kube, namespace, watcher);
        result.compared += 1;
        if (difference) result.wrong.push(difference);
      }
      say(`${random.injected} faults, ${result.wrong.length} wrong caches`);
    }
  } finally {
    stop.abort(new Error("over"));
    for (const { informer, kube: own } of watchers) {
      await informer.closed;
      await own.close();
    }
    await proxy.close();
    await kube.close();
  }
  const { counts, injected } = random;
  return { ...result, counts, injected, connections: proxy.connections.total };
}

async function watch(proxy: FaultProxy, namespace: string, signal: AbortSignal): Promise<Watcher> {
  const logger = silentLogger();
  const { kubeconfig } = proxy;
  const kube = await createKubeClient({ kubeconfig, logger, pingIntervalMs: 300 });
  const options = { namespace, logger, ...QUICK };
  const informer = startInformer<KubeObject>(kube, configMaps, options, signal);
  const watcher: Watcher = { kube, informer, told: new Map(), swaps: 0 };
  informer.onChange((_, { metadata }, change) => {
    const { name, uid = "", resourceVersion } = metadata;
    const old = watcher.told.get(name);
    if (change === "deleted") watcher.told.delete(name);
    else {
      if (old && !old.startsWith(uid)) watcher.swaps += 1;
      watcher.told.set(name, `${uid}@${resourceVersion}`);
    }
  });
  return watcher;
}

/** One random change: made, changed, removed, or removed and made again. */
async function change(made: {
  kube: KubeClient;
  namespace: string;
  random: RandomFaults;
}): Promise<void> {
  const { kube, namespace, random } = made;
  const name = `map-${random.below(MAPS)}`;
  const ref = { resource: configMaps, namespace, name };
  const data = { value: String(random.below(1e9)), text: "日本語 \u2028 👩‍💻" };
  const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace }, data };
  const what = random.below(4);
  try {
    if (what <= 1) await kube.apply(configMaps, object, { fieldManager: "test", force: true });
    else await kube.delete(ref);
    if (what === 3) await kube.create(configMaps, object);
  } catch (error) {
    if (!isNotFound(error) && !isAlreadyExists(error) && !isConflict(error)) throw error;
  }
}

/** The first difference between a fresh list and what a watcher holds and was told; undefined when there is none. */
async function compare(
  kube: KubeClient,
  namespace: string,
  { informer, told, swaps }: Watcher,
): Promise<string | undefined> {
  if (swaps > 0) return `${swaps} objects were exchanged under their name`;
  const { items } = await kube.list(configMaps, { namespace });
  const wanted = versions(items);
  try {
    await eventually(
      "the cache equals a fresh list",
      () => equal(wanted, versions(informer.list())) && equal(wanted, told),
      30_000,
    );
    return undefined;
  } catch {
    const held = JSON.stringify([...versions(informer.list())]);
    return `cache ${held}, list ${JSON.stringify([...wanted])}`;
  }
}

const versions = (objects: KubeObject[]): Map<string, string> =>
  new Map(
    objects.map(({ metadata: { name, uid, resourceVersion } }) => [
      name,
      `${uid}@${resourceVersion}`,
    ]),
  );

const equal = (a: Map<string, string>, b: Map<string, string>): boolean =>
  a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
