import { LABEL } from "#protocol/pod.ts";
import type { Observed } from "./observe.ts";
import { isOurs } from "./observe.ts";

/** What the session should be now, and why. */
export type Want =
  | { state: "Running"; changesInMs?: number }
  /** No pod, volumes kept; `Person`: spec.operatingMode says so, `Idle`: nobody needs it. */
  | { state: "Suspended"; by: "Person" | "Idle" }
  /** Nothing will run again without a change of the spec. */
  | { state: "Finished"; reason: "SessionExpired" | "PodSucceeded" | "PodFailed" };

type Facts = Pick<Observed, "session"> & Partial<Pick<Observed, "pod" | "drifted">>;

/**
 * Hot or cold, by spec and demand. A person's word comes first; demand is a level that only the gateway clears: open, or not
 * known, it keeps a session running and wakes one that is cold.
 */
export function wanted(observed: Facts, now: Date): Want {
  const { session } = observed;
  const expiryMs = Date.parse(session.spec.shutdownTime ?? "");
  if (expiryMs <= now.getTime()) return { state: "Finished", reason: "SessionExpired" };
  if (session.spec.operatingMode === "Suspended") return { state: "Suspended", by: "Person" };
  const ended = finished(observed);
  if (ended) return { state: "Finished", reason: ended };
  const idle = idleness(observed, now);
  if (idle === "cold") return { state: "Suspended", by: "Idle" };
  const times = [idle, expiryMs - now.getTime()].filter((ms) => ms !== undefined && ms > 0);
  return times.length > 0
    ? { state: "Running", changesInMs: Math.min(...(times as number[])) }
    : { state: "Running" };
}

/** Whether the status says that the pod is about to be deleted, which the gateway reads before it starts a turn. */
export function isMarked({ session }: Facts): boolean {
  const condition = conditionOf({ session }, "Suspended");
  return condition?.status === "False" && condition.reason === "Suspending";
}

type End = "PodSucceeded" | "PodFailed";

/** With restartPolicy Never or OnFailure a pod that ended is done; that is remembered when its object is gone. */
function finished(observed: Facts): End | undefined {
  const { session, pod, drifted } = observed;
  if (!pod || !isOurs(pod, session)) return rememberedEnd(observed);
  const restarts = (pod.spec.restartPolicy ?? "Always") === "Always";
  const phase = pod.status?.phase;
  if (restarts || drifted || (phase !== "Succeeded" && phase !== "Failed")) return undefined;
  return `Pod${phase}`;
}

/** Until the spec changes or somebody asks for a restart. */
function rememberedEnd({ session }: Facts): End | undefined {
  const known = conditionOf({ session }, "Finished");
  const current = known?.observedGeneration === session.metadata.generation;
  if (known?.status !== "True" || !current) return undefined;
  if (restartMs({ session }) > Date.parse(known.lastTransitionTime)) return undefined;
  return known.reason === "PodSucceeded" || known.reason === "PodFailed" ? known.reason : undefined;
}

/** Milliseconds until the session is idle for long enough; undefined = that will not come by waiting. */
function idleness(observed: Facts, now: Date): number | "cold" | undefined {
  const { session, pod } = observed;
  const { suspendAfterSeconds, wakeOn } = session.spec.idle;
  const activity = session.status?.activity;
  if (suspendAfterSeconds === 0 || !activity) return undefined;
  if (activity.demand === "Open") {
    return wakeOn.length === 0 && !pod && staysCold(observed) ? "cold" : undefined;
  }
  const sinceMs = Date.parse(activity.since ?? "");
  if (Number.isNaN(sinceMs)) return undefined;
  const fromMs = Math.max(sinceMs, restartMs(observed), ...bornMs(observed));
  const leftMs = fromMs + suspendAfterSeconds * 1000 - now.getTime();
  return leftMs > 0 ? leftMs : "cold";
}

/** Cold, and nobody asked for a restart since. */
function staysCold(observed: Facts): boolean {
  const condition = conditionOf(observed, "Suspended");
  if (condition?.status !== "True") return false;
  return !(restartMs(observed) > Date.parse(condition.lastTransitionTime));
}

/** A new session and a new pod are given their time, whatever was before them. */
function bornMs({ session, pod }: Facts): number[] {
  return [session, pod]
    .map((each) => Date.parse(each?.metadata.creationTimestamp ?? ""))
    .filter((ms) => !Number.isNaN(ms));
}

function restartMs({ session }: Pick<Facts, "session">): number {
  return Date.parse(session.metadata.annotations?.[LABEL.restartAt] ?? "") || 0;
}

function conditionOf({ session }: Pick<Facts, "session">, type: string) {
  return session.status?.conditions?.find((each) => each.type === type);
}
