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
}
