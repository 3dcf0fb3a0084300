import type { Logger } from "#lib/logger.ts";
import type { Running } from "#lib/running.ts";
import type { RuntimeSpec } from "#protocol/pod.ts";
import type { Pressure } from "./pressure.ts";

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
  /** Makes the pod a node: commands beside the app-server. */
  startNode?: StartPodNode;
  /** What tells how much the session uses; default: the kernel. */
  pressure?: Pressure;
  /** Times and bounds that differ from the documented ones. */
  tuning?: BridgeTuning;
}

/** What runs commands in the pod for the gateway; whoever starts the bridge links it. */
export type StartPodNode = (options: PodNodeOptions, signal: AbortSignal) => Promise<PodNode>;

export interface PodNodeOptions {
  /** `runtime:<session>`. */
  nodeId: string;
  gatewayUrl: string;
  /** The pod's own; rotates. */
  token: () => Promise<string>;
  stateFolder: string;
  /** Of commands that name no folder. */
  cwd: string;
  /** What file commands may touch. */
  roots: string[];
  /** What programs get. */
  env: Record<string, string>;
  /** Marks of the pod's processes. */
  marks: Record<string, string>;
  /** A command line as it is to be started: under the session's process limit. */
  limited: (command: string[]) => string[];
  /** Whether the agent's commands wait for a person's word. */
  mustAsk: () => boolean;
  logger: Logger;
}

export interface PodNode extends Running {
  /** Jobs that run, or whose end the gateway does not know yet. */
  openJobs(): OpenJob[];
}

export interface OpenJob {
  jobId: string;
  supervisor: number | undefined;
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
  /** The agent's processes are ended when they held their limit for this long; default 30 s. */
  saturatedMs?: number;
  /** Between two looks at the number of processes, where they are cheap; default 2 s. */
  lookMs?: number;
  /** Between two looks at everything that is used; default 15 s. */
  sampleMs?: number;
  /** Between two questions whether the app-server still answers; default 10 s. */
  livenessMs?: number;
}

/** The named members that are set. */
export function pick<K extends keyof BridgeTuning>(
  tuning: BridgeTuning = {},
  ...keys: K[]
): Pick<BridgeTuning, K> {
  const set = keys.filter((key) => tuning[key] !== undefined);
  return Object.fromEntries(set.map((key) => [key, tuning[key]])) as Pick<BridgeTuning, K>;
}
