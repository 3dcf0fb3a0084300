import type { PodFacts } from "./fields.ts";
import {
  type Container,
  type ContainerState,
  type ContainerStatus,
  kubeTime,
  type Pod,
  type PodCondition,
  type PodStatus,
} from "./pod.ts";

/** What is known about one container. */
export interface ContainerRecord {
  name: string;
  ready: boolean;
  started: boolean;
  restartCount: number;
  state: ContainerState;
  lastState: ContainerState;
  containerID?: string;
}

export interface StatusInput {
  pod: Pod;
  facts: PodFacts;
  init: readonly ContainerRecord[];
  app: readonly ContainerRecord[];
  startedMs: number;
}

/** The pod's whole status. `lastTransitionTime`s of what did not change are kept from `pod.status`. */
export function podStatus({ pod, facts, init, app, startedMs }: StatusInput, now: number) {
  const { spec } = pod;
  const phase = podPhase(spec.restartPolicy ?? "Always", init, app);
  const status: PodStatus = {
    phase,
    conditions: podConditions(phase, init, app).map((condition) =>
      withTransition(pod.status?.conditions, condition, now),
    ),
    hostIP: facts.hostIp,
    hostIPs: [{ ip: facts.hostIp }],
    podIP: facts.podIp,
    podIPs: [{ ip: facts.podIp }],
    startTime: pod.status?.startTime ?? kubeTime(startedMs),
    qosClass: qosClass(spec.containers),
    ...(init.length > 0 && { initContainerStatuses: statuses(spec.initContainers ?? [], init) }),
    containerStatuses: statuses(spec.containers, app),
  };
  return status;
}

/** Status of a pod that no node takes yet, with the reason. */
export function unschedulable(pod: Pod, message: string, now: number): PodStatus {
  const next = { type: "PodScheduled", status: "False", reason: "Unschedulable", message } as const;
  const conditions = [withTransition(pod.status?.conditions, next, now)];
  return { phase: "Pending", conditions, qosClass: qosClass(pod.spec.containers) };
}

/** Phase as Kubernetes defines it. */
export function podPhase(
  policy: string,
  init: readonly ContainerRecord[],
  app: readonly ContainerRecord[],
): PodStatus["phase"] {
  const initFailed = init.some(({ state }) => (state.terminated?.exitCode ?? 0) !== 0);
  if (initFailed && policy === "Never") return "Failed";
  if (!init.every(succeeded)) return "Pending";
  const begun = ({ state, lastState }: ContainerRecord) =>
    Boolean(state.running ?? state.terminated ?? lastState.terminated);
  if (!app.every(begun)) return "Pending";
  if (policy === "Always" || app.some(({ state }) => !state.terminated)) return "Running";
  if (app.every(succeeded)) return "Succeeded";
  return policy === "Never" ? "Failed" : "Running";
}

const succeeded = ({ state }: ContainerRecord) => state.terminated?.exitCode === 0;

type Bare = Omit<PodCondition, "lastTransitionTime">;

function podConditions(
  phase: PodStatus["phase"],
  init: readonly ContainerRecord[],
  app: readonly ContainerRecord[],
): Bare[] {
  const waitingInit = init.filter((record) => !succeeded(record));
  const unready = app.filter(({ ready }) => !ready);
  const ended = phase === "Succeeded" || phase === "Failed";
  const ready = (type: string): Bare => {
    if (phase === "Succeeded") return { type, status: "False", reason: "PodCompleted" };
    if (phase === "Failed") return { type, status: "False", reason: "PodFailed" };
    return bare(type, unready, ["ContainersNotReady", "containers with unready status"]);
  };
  return [
    { type: "PodScheduled", status: "True" },
    bare("Initialized", ended ? [] : waitingInit, [
      "ContainersNotInitialized",
      "containers with incomplete status",
    ]),
    ready("ContainersReady"),
    ready("Ready"),
  ];
}

function bare(
  type: string,
  lacking: readonly ContainerRecord[],
  [reason, text]: [string, string],
): Bare {
  if (lacking.length === 0) return { type, status: "True" };
  const names = lacking.map(({ name }) => name).join(" ");
  return { type, status: "False", reason, message: `${text}: [${names}]` };
}

function withTransition(
  old: readonly PodCondition[] | undefined,
  next: Bare,
  now: number,
): PodCondition {
  const before = old?.find(({ type }) => type === next.type);
  const kept = before?.status === next.status ? before.lastTransitionTime : undefined;
  return { ...next, lastTransitionTime: kept ?? kubeTime(now) };
}

function statuses(
  containers: readonly Container[],
  records: readonly ContainerRecord[],
): ContainerStatus[] {
  return records.map((record) => ({
    ...record,
    image: containers.find(({ name }) => name === record.name)?.image ?? "",
    imageID: "",
  }));
}

/** Quality of service class of the pod's resources. */
export function qosClass(containers: readonly Container[]): string {
  const named = ["cpu", "memory"] as const;
  const lists = containers.map(({ resources = {} }) => ({
    limits: resources.limits ?? {},
    // A missing request is the limit.
    requests: { ...resources.limits, ...resources.requests },
  }));
  if (lists.every(({ requests }) => named.every((name) => requests[name] === undefined))) {
    return "BestEffort";
  }
  const guaranteed = lists.every(({ limits, requests }) =>
    named.every((name) => limits[name] !== undefined && limits[name] === requests[name]),
  );
  return guaranteed ? "Guaranteed" : "Burstable";
}
