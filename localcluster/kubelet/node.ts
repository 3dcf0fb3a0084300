import { arch, availableParallelism, hostname, platform, release, totalmem } from "node:os";
import { nodes } from "#cluster/resources.ts";
import type { KubeClient, KubeObject } from "#cluster/types.ts";
import { FIELD_MANAGER } from "./context.ts";
import { kubeTime } from "./pod.ts";

/** Name of the only node; fixed, so that pods stay bound to it when the machine is renamed. */
export const NODE_NAME = "local";
export const HOST_IP = "127.0.0.1";
/** More wait, unscheduled. */
export const MAX_PODS = 250;
const ARCHITECTURES: Record<string, string> = { x64: "amd64" };

/** Registers this machine, or says that it is stopping. */
export async function publishNode(kube: KubeClient, ready: boolean, now: number): Promise<void> {
  const node = { apiVersion: "v1", kind: "Node", metadata: { name: NODE_NAME } };
  const architecture = ARCHITECTURES[arch()] ?? arch();
  const labels = {
    "kubernetes.io/hostname": NODE_NAME,
    "kubernetes.io/os": platform(),
    "kubernetes.io/arch": architecture,
  };
  const options = { fieldManager: FIELD_MANAGER, force: true };
  const metadata = { name: NODE_NAME, labels };
  const applied = await kube.apply<KubeObject>(nodes, { ...node, metadata }, options);
  const status = nodeStatus({ architecture, ready, before: readyCondition(applied) }, now);
  const withStatus: KubeObject & { status: object } = { ...node, status };
  await kube.applyStatus(nodes, withStatus, options);
}

interface NodeCondition {
  type: string;
  status: string;
  lastTransitionTime: string;
}

function readyCondition(node: KubeObject & { status?: { conditions?: NodeCondition[] } }) {
  return node.status?.conditions?.find(({ type }) => type === "Ready");
}

interface StatusInput {
  architecture: string;
  ready: boolean;
  before: NodeCondition | undefined;
}

function nodeStatus({ architecture, ready, before }: StatusInput, now: number): object {
  const amounts = {
    cpu: String(availableParallelism()),
    memory: `${Math.floor(totalmem() / 1024)}Ki`,
    pods: String(MAX_PODS),
  };
  const status = ready ? "True" : "False";
  const condition = {
    type: "Ready",
    status,
    reason: ready ? "KubeletReady" : "KubeletStopped",
    message: ready ? "pods run as child processes" : "argus up was stopped",
    lastHeartbeatTime: kubeTime(now),
    lastTransitionTime: before?.status === status ? before.lastTransitionTime : kubeTime(now),
  };
  return {
    addresses: [
      { type: "InternalIP", address: HOST_IP },
      { type: "Hostname", address: hostname() },
    ],
    capacity: amounts,
    allocatable: amounts,
    conditions: [condition],
    nodeInfo: {
      architecture,
      operatingSystem: platform(),
      kernelVersion: release(),
      osImage: platform(),
      containerRuntimeVersion: `process://${process.versions.node}`,
      kubeletVersion: "v1.35.0-argus",
      kubeProxyVersion: "",
      machineID: "",
      systemUUID: "",
      bootID: "",
    },
  };
}
