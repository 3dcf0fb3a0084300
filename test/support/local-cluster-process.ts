import { join } from "node:path";
import { silentLogger } from "#lib/logger.ts";
import { startLocalCluster } from "#localcluster/local-cluster.ts";

/** A local cluster as a process of its own, to be killed: prints its kubeconfig as JSON, then serves until SIGTERM. */
const [folder = ""] = process.argv.slice(2);
const stopping = new AbortController();
process.once("SIGTERM", () => stopping.abort());
const cluster = await startLocalCluster(
  {
    folder,
    port: 0,
    binFolder: join(folder, "bin"),
    environment: { PATH: "/usr/bin:/bin" },
    logger: silentLogger(),
  },
  stopping.signal,
);
console.log(JSON.stringify(cluster.kubeconfig("admin")));
await cluster.closed;
