import { existsSync } from "node:fs";
import { createKubeClient } from "#cluster/client.ts";
import type { KubeClient } from "#cluster/types.ts";
import { ArgusError } from "#lib/errors.ts";
import { silentLogger } from "#lib/logger.ts";
import type { Environment } from "./config.ts";
import { ownDataFolder } from "./data-folder.ts";

export interface ClusterChoice {
  data?: string;
  environment: Environment;
}

/**
 * Runs `work` with a client for the cluster: the data folder's when `--data` names one, else KUBECONFIG, else the
 * local installation's. Throws NotFound with what to do when there is none.
 */
export async function withCluster<T>(
  choice: ClusterChoice,
  work: (kube: KubeClient & { namespace: string }) => Promise<T>,
): Promise<T> {
  const kube = await createKubeClient({
    kubeconfig: kubeconfigPath(choice),
    logger: silentLogger(),
  });
  try {
    return await work(kube);
  } finally {
    await kube.close();
  }
}

function kubeconfigPath({ data, environment }: ClusterChoice): string | undefined {
  // undefined lets the client read KUBECONFIG by its own rules (a list of files).
  if (data === undefined && environment.KUBECONFIG) return undefined;
  const local = ownDataFolder(data, environment).adminKubeconfig;
  if (existsSync(local)) return local;
  const hint = "start one with `./argus up`, or set KUBECONFIG";
  throw new ArgusError("NotFound", `no cluster known: ${hint}`, { path: local });
}
