import type { EventRecorder } from "#cluster/events.ts";
import type { Informer, KubeClient } from "#cluster/types.ts";
import type { Logger } from "#lib/logger.ts";
import type { AddressPool } from "./addresses.ts";
import type { Cgroups } from "./cgroup.ts";
import type { Claim, ClaimKeeper } from "./claims.ts";
import type { LogStore } from "./log-store.ts";
import type { Pod } from "./pod.ts";
import type { RunRecords } from "./run-records.ts";

/** Field manager of everything that the kubelet writes. */
export const FIELD_MANAGER = "kubelet";

/** What all pods of the kubelet share. */
export interface KubeletContext {
  kube: KubeClient;
  /** Pods' folders are `<podsFolder>/<pod uid>`. */
  podsFolder: string;
  binFolder: string;
  environment: Readonly<Record<string, string>>;
  addresses: AddressPool;
  pods: Informer<Pod>;
  claims: Informer<Claim>;
  claimKeeper: ClaimKeeper;
  events: EventRecorder;
  logs: LogStore;
  runs: RunRecords;
  /** Undefined = limits are not enforced. */
  cgroups: Cgroups | undefined;
  /** Runs whose processes a crash cut off, as `<pod uid>/<container>`; they were ended before anything starts. */
  lost: ReadonlySet<string>;
  /** Whether processes of a user work here, by `uid:gid`; asked once each. */
  userChecks: Map<string, Promise<boolean>>;
  logger: Logger;
}
