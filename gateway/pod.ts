import type { KubeObject } from "#cluster/types.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { LABEL, POD } from "#protocol/pod.ts";

/** The parts of a Pod that the gateway reads. */
export interface Pod extends KubeObject {
  spec?: {
    containers?: { name: string; ports?: { name?: string; containerPort: number }[] }[];
  };
  status?: {
    phase?: string;
    podIP?: string;
    conditions?: { type: string; status: string; reason?: string; message?: string }[];
  };
}

/** Where a bridge listens. */
export interface BridgeAddress {
  podName: string;
  podUid: string;
  host: string;
  port: number;
}

/** The session that this pod belongs to, by label and controlling owner; undefined = it is nobody's. */
export function sessionNameOf(pod: Pod): string | undefined {
  const name = pod.metadata.labels?.[LABEL.session];
  const owner = pod.metadata.ownerReferences?.find(({ controller }) => controller);
  return owner?.kind === "ArgusSession" && owner.name === name ? name : undefined;
}

/** Whether `pod` is a pod of exactly this session object. */
export function belongsTo(pod: Pod, session: ArgusSession): boolean {
  const owner = pod.metadata.ownerReferences?.find(({ controller }) => controller);
  return sessionNameOf(pod) === session.metadata.name && owner?.uid === session.metadata.uid;
}

/** Ready and not on its way out. */
export function isReady(pod: Pod): boolean {
  return (
    pod.metadata.deletionTimestamp === undefined &&
    pod.status?.phase === "Running" &&
    (pod.status.conditions ?? []).some(({ type, status }) => type === "Ready" && status === "True")
  );
}

/** Address of the pod's bridge; undefined while it has none. */
export function bridgeAddress(pod: Pod): BridgeAddress | undefined {
  const port = (pod.spec?.containers ?? [])
    .flatMap(({ ports }) => ports ?? [])
    .find(({ name }) => name === POD.ports.bridge.name)?.containerPort;
  const { name, uid } = pod.metadata;
  const host = pod.status?.podIP;
  if (!port || !host || !uid) return undefined;
  return { podName: name, podUid: uid, host, port };
}
