import type { Logger } from "#lib/logger.ts";
import type { RuntimeSpec } from "#protocol/pod.ts";

export interface BridgeOptions {
  session: string;
  podUid: string;
  /** Address of both ports; probes and peers come from outside the pod. */
  host: string;
  bridgePort: number;
  probePort: number;
  runtime: RuntimeSpec;
  gatewayUrl: string;
  home: string;
  workspace: string;
  temporary: string;
  tokenFile: string;
  keysFolder: string;
  terminationLog: string;
  /** Environment for the agent: the container's own without the ARGUS_* names that are not for it. */
  agentEnv: Record<string, string>;
  logger: Logger;
  /** Times and bounds that differ from the documented ones. */
  tuning?: BridgeTuning;
}

export interface BridgeTuning {
  /** What a running turn gets after SIGTERM; default 25 s. */
  graceMs?: number;
  /** After this a question of the app-server counts as answered with no; default 30 min. */
  askDeadlineMs?: number;
  /** For a connection's first line; default 10 s. */
  helloDeadlineMs?: number;
  /** What a peer may leave unread before it is cut off; default 16 MiB. */
  maxUnsentBytes?: number;
  /** Notifications kept for peers that come back; default 8 MiB. */
  ringBytes?: number;
}
