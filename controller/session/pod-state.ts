import type { ContainerStatus, Pod, PodCondition } from "#cluster/core-types.ts";
import { POD } from "#protocol/pod.ts";
import type { Problem } from "./plan.ts";

export function podCondition(pod: Pod, type: string): PodCondition | undefined {
  return pod.status?.conditions?.find((condition) => condition.type === type);
}

export function isPodReady(pod: Pod): boolean {
  return podCondition(pod, "Ready")?.status === "True" && !pod.metadata.deletionTimestamp;
}

export function agentStatus({ status }: Pod): ContainerStatus | undefined {
  return status?.containerStatuses?.find(({ name }) => name === POD.container);
}

export function isAgentRunning(pod: Pod): boolean {
  return agentStatus(pod)?.state?.running !== undefined;
}

const IMAGE_REASONS = [
  "ErrImagePull",
  "ImagePullBackOff",
  "InvalidImageName",
  "ErrImageNeverPull",
  "ImageInspectError",
  "RegistryUnavailable",
];

const CONFIG_REASONS = ["CreateContainerConfigError", "CreateContainerError"];
const CRASH_REASONS = ["CrashLoopBackOff", "RunContainerError"];

/**
 * What keeps the pod from starting, if anything does. The kubelet's own words change with every back-off, so they are used only
 * where they stay the same; else the status would be written again and again.
 */
export function startProblem(pod: Pod): Problem | undefined {
  return lostNode(pod) ?? unschedulable(pod) ?? waitingProblem(pod);
}

/** Its node has gone silent: whether it still runs is known to nobody. */
export function isLost(pod: Pod): boolean {
  return pod.status?.reason === "NodeLost" || podCondition(pod, "Ready")?.status === "Unknown";
}

function lostNode(pod: Pod): Problem | undefined {
  if (!isLost(pod)) return undefined;
  return {
    reason: "NodeLost",
    message: `node ${pod.spec.nodeName} of ${nameOf(pod)} does not answer: bring it back, or delete the node object so that a new pod may follow`,
  };
}

function unschedulable(pod: Pod): Problem | undefined {
  const scheduled = podCondition(pod, "PodScheduled");
  if (scheduled?.status !== "False") return undefined;
  const why = scheduled.message ?? scheduled.reason ?? "no node fits";
  return {
    reason: "Unschedulable",
    message: `${nameOf(pod)} finds no node (${why}): add capacity or ask for less in spec.resources`,
  };
}

function waitingProblem(pod: Pod): Problem | undefined {
  return firstOf(pod, (status) => pullProblem(pod, status) ?? containerProblem(pod, status));
}

/** An image that cannot be had. */
export function imageProblem(pod: Pod): Problem | undefined {
  return firstOf(pod, (status) => pullProblem(pod, status));
}

function firstOf<T>({ status }: Pod, find: (status: ContainerStatus) => T | undefined) {
  const statuses = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])];
  for (const each of statuses) {
    const found = find(each);
    if (found !== undefined) return found;
  }
  return undefined;
}

function pullProblem(pod: Pod, status: ContainerStatus): Problem | undefined {
  if (!IMAGE_REASONS.includes(status.state?.waiting?.reason ?? "")) return undefined;
  const words = `${imageOf(pod, status)} cannot be pulled: check spec.runtime.image and imagePullSecrets`;
  const message = `container ${status.name} of ${nameOf(pod)}: ${words}`;
  return { reason: "ImagePullFailed", message };
}

/** What to say of a container that waits for a reason other than "soon". */
function containerProblem(pod: Pod, status: ContainerStatus): Problem | undefined {
  const { reason = "", message = "" } = status.state?.waiting ?? {};
  const where = `container ${status.name} of ${nameOf(pod)}`;
  if (CONFIG_REASONS.includes(reason)) {
    const words = `cannot be made (${message}): create what it names or change spec.runtime.env`;
    return { reason, message: `${where} ${words}` };
  }
  if (!CRASH_REASONS.includes(reason)) return undefined;
  const words = `keeps ending (${endOf(status, message)}): see status.lastTermination and kubectl logs`;
  return { reason, message: `${where} ${words} ${pod.metadata.name}` };
}

function imageOf({ spec }: Pod, { name }: ContainerStatus): string {
  return spec.containers.find((each) => each.name === name)?.image ?? "its image";
}

function endOf({ lastState }: ContainerStatus, message: string): string {
  const end = lastState?.terminated;
  return end ? `exit code ${end.exitCode}` : message;
}

function nameOf({ metadata }: Pod): string {
  return `pod ${metadata.namespace}/${metadata.name}`;
}
