import type { z } from "zod";
import type { Pod, PodCondition, Terminated } from "#cluster/core-types.ts";
import { present } from "#cluster/objects.ts";
import type { LastTermination as Schema } from "#crds/argus-session.ts";
import { type BridgeStatus, TerminationMessage } from "#protocol/bridge.ts";
import { agentStatus, imageProblem } from "./pod-state.ts";

export type LastTermination = z.infer<typeof Schema>;

const MAX_MESSAGE_LENGTH = 4096;
const SIGKILL = 9;
const SIGTERM = 15;
/**
 * A container that ran so long without being ready before a signal ended it was ended for its liveness probe, which fails six times
 * in 50 s at least; its readiness is gone 8 s after the first of them at the latest.
 */
const PROBED_MS = 40_000;

/** How the agent last ended: the newest of what was known, what the pod says and what the bridge did. */
export function lastTermination(
  pod: Pod | undefined,
  bridge: BridgeStatus | undefined,
  known: LastTermination | undefined,
): LastTermination | undefined {
  if (!pod) return known;
  const own = [ended(pod), killed(bridge)].reduce((a, b) => (isNewer(b, a) ? b : a));
  const newest = own && isNewer(own, known) ? own : known;
  return removed(pod) ?? (own ? newest : (unstarted(pod) ?? known));
}

function isNewer(b: LastTermination | undefined, a: LastTermination | undefined): boolean {
  if (!b || !a?.finishedAt) return b !== undefined;
  return Date.parse(b.finishedAt ?? "") > Date.parse(a.finishedAt);
}

/** What takes a whole pod away, by the words of Kubernetes. */
const REMOVALS: Record<string, string> = {
  DeletionByTaintManager: "NodeLost",
  DeletionByPodGC: "NodeLost",
  TerminationByKubelet: "Evicted",
  EvictionByEvictionAPI: "Evicted",
  PreemptionByScheduler: "Preempted",
};

/** Evicted, preempted, or lost with its node: then the container's own end tells little. */
function removed(pod: Pod): LastTermination | undefined {
  const target = disruption(pod);
  const disrupted = REMOVALS[target?.reason ?? ""];
  // The kubelet's own word is the most exact, for example Evicted or OutOfcpu.
  const reason = wordOfKubelet(pod) ?? disrupted;
  if (!reason) return undefined;
  const finishedAt = disrupted ? target?.lastTransitionTime : undefined;
  const message = cut(pod.status?.message || target?.message);
  return { ...present({ finishedAt, message }), reason: reason.slice(0, 128) };
}

function disruption({ status }: Pod): PodCondition | undefined {
  return status?.conditions?.find(
    ({ type, status: is }) => type === "DisruptionTarget" && is === "True",
  );
}

function wordOfKubelet({ status }: Pod): string | undefined {
  const ended = status?.phase === "Failed" || status?.reason === "NodeLost";
  return ended ? status.reason : undefined;
}

/** Undefined for nothing said. */
function cut(message: string | undefined): string | undefined {
  return message?.slice(0, MAX_MESSAGE_LENGTH) || undefined;
}

/** It never began: there is no container to ask. */
function unstarted(pod: Pod): LastTermination | undefined {
  const problem = imageProblem(pod);
  return problem && { reason: problem.reason, message: problem.message };
}

/** The bridge lives on when an agent that is at its process or memory limit is ended. */
function killed(bridge: BridgeStatus | undefined): LastTermination | undefined {
  if (!bridge?.killed) return undefined;
  const { reason, message, at } = bridge.killed;
  const finishedAt = new Date(Math.min(at, MAX_TIME_MS)).toISOString().replace(/\.\d+Z$/, "Z");
  const limit = reason === "OOMKilled" ? { oomKilled: true } : { pidLimitHit: true };
  return { reason, message, ...limit, finishedAt };
}

/** What a bridge says is not to be trusted: the last moment that a date-time can name. */
const MAX_TIME_MS = Date.UTC(9999, 11, 31);

function isOutOfMemory(end: Terminated, told: TerminationMessage | undefined): boolean {
  return [end.reason, told?.reason].includes("OOMKilled");
}

function ended(pod: Pod): LastTermination | undefined {
  const status = agentStatus(pod);
  const end = status?.state?.terminated ?? status?.lastState?.terminated;
  if (!end) return undefined;
  const told = parse(end.message);
  const signal = signalOf(end);
  return {
    ...present({
      exitCode: end.exitCode,
      signal,
      oomKilled: isOutOfMemory(end, told) || undefined,
      pidLimitHit: told?.pidLimitHit || undefined,
      finishedAt: end.finishedAt,
      message: cut(told?.message ?? end.message),
    }),
    reason: reasonOf({ pod, end, told, signal }).slice(0, 128),
  };
}

/** Runtimes report a signal in the exit code, as shells do. */
function signalOf({ signal, exitCode }: Terminated): number | undefined {
  if (signal) return signal;
  return exitCode > 128 && exitCode < 128 + 65 ? exitCode - 128 : undefined;
}

interface End {
  pod: Pod;
  end: Terminated;
  told: TerminationMessage | undefined;
  signal: number | undefined;
}

/** The kernel's kill is known to the kubelet alone; a probe's kill is known by what went before it. */
function reasonOf({ pod, end, told, signal }: End): string {
  if (end.reason === "OOMKilled") return "OOMKilled";
  const stopped = told?.reason === "Stopped" || signal === SIGTERM || signal === SIGKILL;
  if (stopped && wasProbed(pod, end)) {
    // Who hangs does not hear the first signal and leaves no word.
    return signal === SIGKILL && !told ? "Hung" : "ProbeFailed";
  }
  if (told) return told.reason;
  if (signal !== undefined) return "Signal";
  return end.reason ?? "Unknown";
}

function wasProbed({ metadata, status }: Pod, { startedAt, finishedAt }: Terminated): boolean {
  if (metadata.deletionTimestamp) return false;
  const ready = status?.conditions?.find(({ type }) => type === "Ready");
  if (ready?.status !== "False" || !ready.lastTransitionTime) return false;
  // A pod is not ready before its container runs either, and a busy node may take long to start it.
  const since = Math.max(Date.parse(ready.lastTransitionTime), Date.parse(startedAt ?? "") || 0);
  return Date.parse(finishedAt ?? "") - since >= PROBED_MS;
}

/** The bridge writes JSON; what the agent wrote instead is shown as it is. */
function parse(text: string | undefined): TerminationMessage | undefined {
  if (!text) return undefined;
  try {
    return TerminationMessage.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
