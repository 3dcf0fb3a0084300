import type { Logger } from "#lib/logger.ts";
import type { Listening } from "#lib/running.ts";

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

/** `startLocalCluster(options, signal)`: an API server and a kubelet in this process. */
export type StartLocalCluster = (
  options: LocalClusterOptions,
  signal: AbortSignal,
) => Promise<LocalCluster>;
