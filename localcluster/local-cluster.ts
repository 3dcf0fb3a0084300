import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createKubeClient } from "#cluster/client.ts";
import type { Logger } from "#lib/logger.ts";
import type { Listening } from "#lib/running.ts";
import { startApiServer } from "./api-server.ts";
import { kubeconfigYaml } from "./kubeconfig.ts";
import { startKubelet } from "./kubelet/kubelet.ts";
import { LogStore } from "./kubelet/log-store.ts";
import type { ApiServer, UserTokens } from "./options.ts";

export interface LocalClusterOptions {
  /** All state: objects, volumes, logs, the record of started processes. */
  folder: string;
  /** Of the API server; 0 = any free port. */
  port: number;
  /** Searched first for a container's command: holds `argus` and `codex`. */
  binFolder: string;
  /** CIDR of loopback addresses for pods, e.g. `127.77.0.0/16` (the default). */
  addressPool?: string;
  /** What every container starts with: PATH and the like, never a secret. */
  environment: Record<string, string>;
  logger: Logger;
}

/** The user that a kubeconfig speaks for. */
export type LocalUser = "admin" | "controller" | "gateway";

export interface LocalCluster extends Listening {
  /** YAML for `kubectl --kubeconfig`. */
  kubeconfig(user: LocalUser): string;
  /** What pods here are not isolated from, one sentence each; for the person who starts it. */
  warnings: string[];
}

const DEFAULT_POOL = "127.77.0.0/16";
const NAMESPACE = "default";

/**
 * An API server and a kubelet in this process. Resolves when pods are being run; first it ends what an earlier start
 * left behind after a crash. Aborting ends the pods' processes, then the API server; pods stay and start again next time.
 */
export async function startLocalCluster(
  options: LocalClusterOptions,
  signal: AbortSignal,
): Promise<LocalCluster> {
  const { folder, port, logger } = options;
  const logs = new LogStore(join(folder, "logs"));
  // The API server outlives the kubelet, which still writes while it ends the pods.
  const life = new AbortController();
  const server = await startApiServer(
    { folder: join(folder, "api"), port, logger, logs },
    life.signal,
  );
  try {
    const kubeconfig = (user: keyof UserTokens) => kubeconfigOf(server, user);
    const file = await kubeconfigFile(folder, kubeconfig("kubelet"));
    const kube = await createKubeClient({ kubeconfig: file, logger });
    const addressPool = options.addressPool ?? DEFAULT_POOL;
    const kubelet = await startKubelet({ ...options, addressPool, kube, logs }, signal);
    const ended = kubelet.closed.then(() => kube.close()).finally(() => life.abort());
    const closed = Promise.all([ended, server.closed]).then(() => undefined);
    const { host } = server;
    return { host, port: server.port, closed, kubeconfig, warnings: kubelet.warnings };
  } catch (error) {
    life.abort();
    await server.closed;
    throw error;
  }
}

function kubeconfigOf(server: ApiServer, user: keyof UserTokens): string {
  return kubeconfigYaml({
    server: `https://${server.host}:${server.port}`,
    caPem: server.caPem,
    token: server.tokens[user],
    user,
    namespace: NAMESPACE,
  });
}

async function kubeconfigFile(folder: string, text: string): Promise<string> {
  await mkdir(join(folder, "run"), { recursive: true, mode: 0o700 });
  const file = join(folder, "run", "kubelet.kubeconfig");
  await writeFile(file, text, { mode: 0o600 });
  return file;
}
