import { createKubeClient } from "#cluster/client.ts";
import { configMaps } from "#cluster/resources.ts";
import { silentLogger } from "#lib/logger.ts";
import { connectionsOf } from "../../support/connections.ts";

/**
 * A process that asks for one object many times, by our client or by client-node, and prints what it cost. Arguments:
 * client, kubeconfig, port of the API server, namespace, calls, calls at once.
 */
const [client, kubeconfig = "", port, namespace = "", calls, atOnce] = process.argv.slice(2);

async function ours(): Promise<() => Promise<unknown>> {
  const kube = await createKubeClient({ kubeconfig, logger: silentLogger() });
  return () => kube.get({ resource: configMaps, namespace, name: "asked" });
}

async function stock(): Promise<() => Promise<unknown>> {
  const { CoreV1Api, KubeConfig } = await import("@kubernetes/client-node");
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  const api = config.makeApiClient(CoreV1Api);
  return () => api.readNamespacedConfigMap({ name: "asked", namespace });
}

async function run(get: () => Promise<unknown>, count: number): Promise<number> {
  let left = count;
  let most = 0;
  const work = async () => {
    for (; left > 0; ) {
      left -= 1;
      await get();
      if (left % 100 === 0) most = Math.max(most, connectionsOf(process.pid, Number(port)));
    }
  };
  await Promise.all(Array.from({ length: Number(atOnce) }, work));
  return Math.max(most, connectionsOf(process.pid, Number(port)));
}

const get = await (client === "ours" ? ours() : stock());
await run(get, 50);
const startedMs = performance.now();
const before = process.cpuUsage();
const connections = await run(get, Number(calls));
const { user, system } = process.cpuUsage(before);
const wallMs = performance.now() - startedMs;
console.log(JSON.stringify({ wallMs, cpuMs: (user + system) / 1000, connections }));
process.exit(0);
