import { type ContainerStatus, kubeTime, type Pod, type Terminated } from "./pod.ts";
import { restarts } from "./restart.ts";
import type { ContainerRecord } from "./status.ts";

export interface RestoreInput {
  pod: Pod;
  /** Names of the containers whose processes a crash cut off. */
  lost: ReadonlySet<string>;
}

/** What to begin with when the kubelet starts: a new pod's empty records, or those that its status tells of. */
export function restoreRecords({ pod, lost }: RestoreInput, now: number) {
  const { status, spec } = pod;
  const find = (list: ContainerStatus[] | undefined, name: string) =>
    list?.find((each) => each.name === name);
  return {
    init: (spec.initContainers ?? []).map(({ name }) => {
      const old = find(status?.initContainerStatuses, name);
      // They run again, as after a restart of a node.
      return fresh(name, "PodInitializing", old);
    }),
    app: spec.containers.map(({ name }) => {
      const old = find(status?.containerStatuses, name);
      return restored(old ?? fresh(name, "ContainerCreating"), { pod, lost: lost.has(name), now });
    }),
  };
}

function fresh(name: string, reason: string, old?: ContainerRecord): ContainerRecord {
  return {
    name,
    ready: false,
    started: false,
    restartCount: old?.restartCount ?? 0,
    state: { waiting: { reason } },
    lastState: old?.lastState ?? {},
  };
}

function restored(
  old: ContainerRecord,
  { pod, lost, now }: { pod: Pod; lost: boolean; now: number },
): ContainerRecord {
  const ended = lost || old.state.running ? lostRun(old, now) : old.state.terminated;
  const next = fresh(old.name, "ContainerCreating", old);
  if (!ended) {
    // Cut off in its pause: the run before is over, the next one has a number of its own.
    const paused = old.state.waiting?.reason === "CrashLoopBackOff";
    return { ...next, restartCount: old.restartCount + (paused ? 1 : 0) };
  }
  if (!restarts(pod.spec.restartPolicy, { exitCode: ended.exitCode, init: false })) {
    return { ...next, state: { terminated: ended } };
  }
  return { ...next, restartCount: old.restartCount + 1, lastState: { terminated: ended } };
}

function lostRun(old: ContainerRecord, now: number): Terminated {
  const startedAt = old.state.running?.startedAt;
  return {
    exitCode: 137,
    reason: "ContainerStatusUnknown",
    message:
      "argus up ended without stopping this container; its processes were ended at the next start",
    finishedAt: kubeTime(now),
    ...(startedAt && { startedAt }),
    ...(old.containerID && { containerID: old.containerID }),
  };
}
