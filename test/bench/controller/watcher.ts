import { createKubeClient } from "#cluster/client.ts";
import { startInformer } from "#cluster/informer.ts";
import { argusSessions } from "#cluster/resources.ts";
import { silentLogger } from "#lib/logger.ts";

/** A process that holds all sessions of a namespace, by our informer or by client-node's, and prints what it took. */
const [client, kubeconfig = "", namespace = ""] = process.argv.slice(2);

async function ours(): Promise<() => number> {
  const kube = await createKubeClient({ kubeconfig, logger: silentLogger() });
  const never = new AbortController();
  const options = { namespace, logger: silentLogger() };
  const sessions = startInformer(kube, argusSessions, options, never.signal);
  await sessions.synced();
  return () => sessions.list().length;
}

async function stock(): Promise<() => number> {
  const { CustomObjectsApi, KubeConfig, makeInformer } = await import("@kubernetes/client-node");
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  const api = config.makeApiClient(CustomObjectsApi);
  const { group, version, plural } = argusSessions;
  const path = `/apis/${group}/${version}/namespaces/${namespace}/${plural}`;
  const list = () => api.listNamespacedCustomObject({ group, version, namespace, plural });
  const informer = makeInformer(config, path, list);
  await informer.start();
  return () => informer.list().length;
}

const startedMs = performance.now();
const count = await (client === "ours" ? ours() : stock());
const syncMs = performance.now() - startedMs;
console.log(JSON.stringify({ objects: count(), syncMs, rssKiB: process.memoryUsage.rss() / 1024 }));
process.exit(0);
