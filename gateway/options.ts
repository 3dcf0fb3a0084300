import type { KubeClient } from "#cluster/types.ts";
import type { ArgusSessionSpecInput } from "#crds/argus-session.ts";
import type { Logger } from "#lib/logger.ts";

export interface GatewayOptions {
  host: string;
  /** 0 = any free port. */
  port: number;
  /** Where sessions, pods and the key ConfigMap live. */
  namespace: string;
  /** Where the state is kept: files of `stateFolder` (default), or ConfigMaps of the namespace. */
  store?: "file" | "configmap";
  /** Folder of the file store. */
  stateFolder: string;
  /** Take a state folder on a network file system although its locks may lie. */
  allowNetworkFileSystem?: boolean;
  /** The one admin token. */
  adminToken: string;
  kube: KubeClient;
  /** Name of the controller's service account in the namespace; `argus-controller` when absent. */
  controllerAccount?: string;
  /** Model proxy; without a key it answers 503 and says so. */
  model: { upstream: string; key?: string };
  /** Spec of a session that the gateway makes on a client's request. */
  sessionTemplate: ArgusSessionSpecInput;
  /** The file that devices download; without one it is not served. */
  nodeHostFile?: () => Promise<Buffer | undefined>;
  /** Web origins that may read answers; none by default. */
  corsOrigins?: string[];
  logger: Logger;
}
