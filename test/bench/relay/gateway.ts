import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { nodeFlags } from "#cli/node-flags.ts";
import type { HelloResult } from "#protocol/bridge.ts";
import { bundle } from "../../../scripts/bundle.ts";
import type { PreparedCluster } from "./cluster-process.ts";
import type { Candidate } from "./load.ts";
import { freePort, LOAD_CORE, start } from "./process.ts";

/** How an image starts a command: the bundle, made anew in `folder`. */
export async function argus(command: string, folder: string): Promise<string[]> {
  const program = join(folder, "program");
  await bundle(program);
  return [process.execPath, ...nodeFlags(command), join(program, "argus.js"), command];
}

const ADMIN_TOKEN = "admin-token-of-the-benchmark";

/** The real gateway, started as in production, before a session whose pod is the load. */
export async function startGatewayCandidate(folder: string): Promise<Candidate> {
  const [port, bridgePort] = [await freePort(), await freePort()];
  const { cluster, process: api } = await startCluster(folder, bridgePort);
  const env = {
    KUBECONFIG: cluster.kubeconfig,
    ARGUS_NAMESPACE: cluster.namespace,
    ARGUS_TOKEN: ADMIN_TOKEN,
    ARGUS_STATE_FOLDER: join(folder, "state"),
    ARGUS_LISTEN: `127.0.0.1:${port}`,
    ARGUS_LOG_LEVEL: "warn",
  };
  const started = await start({ command: await argus("gateway", folder), env, port });
  await ready(port);
  const settings = {
    wire: "ws",
    front: `127.0.0.1:${port}`,
    listen: `127.0.0.1:${bridgePort}`,
    path: `/ws?session=${cluster.session}`,
    auth: ADMIN_TOKEN,
    hello: JSON.stringify(hello(cluster.podToken)),
  };
  return {
    name: "gateway",
    pids: [started.pid],
    settings: () => Promise.resolve(settings),
    stop: async () => {
      await started.stop();
      api.kill("SIGTERM");
      await once(api, "exit");
    },
  };
}

async function startCluster(
  folder: string,
  bridgePort: number,
): Promise<{ cluster: PreparedCluster; process: ChildProcess }> {
  const script = join(import.meta.dirname, "cluster-process.ts");
  const words = ["-c", String(LOAD_CORE), process.execPath, script, folder, String(bridgePort)];
  const child = spawn("taskset", words, { stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout });
  const first = await Promise.race([
    once(lines, "line").then(([line]) => String(line)),
    once(child, "exit").then(() => undefined),
  ]);
  if (first === undefined) throw new Error("the API server of the benchmark ended at once");
  return { cluster: JSON.parse(first) as PreparedCluster, process: child };
}

/** Listening comes before readiness: keys and lists have to be there. */
async function ready(port: number): Promise<void> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const response = await fetch(`http://127.0.0.1:${port}/readyz`);
    const text = await response.text();
    if (response.ok) return;
    if (Date.now() > deadline) throw new Error(`the gateway is not ready: ${text}`);
  }
}

function hello(podToken: string): HelloResult {
  return {
    boot: "bench",
    seq: 0,
    state: "hot",
    podToken,
    defaults: { cwd: "/", approvalPolicy: "never", sandbox: "danger-full-access" },
    echo: false,
  };
}
