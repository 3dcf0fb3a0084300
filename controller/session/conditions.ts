import type { Pod } from "#cluster/core-types.ts";
import type { SessionConditionType } from "#crds/argus-session.ts";
import type { BridgeStatus } from "#protocol/bridge.ts";
import type { Observed } from "./observe.ts";
import { isOurs } from "./observe.ts";
import type { Problem } from "./plan.ts";
import { USER_NAMESPACE_UID } from "./pod.ts";
import { isAgentRunning, isLost, isPodReady, podCondition, startProblem } from "./pod-state.ts";
import { type Want, wanted } from "./temperature.ts";

/** A condition without the fields that are the same for all. */
export interface Finding {
  type: SessionConditionType;
  status: "True" | "False" | "Unknown";
  reason: string;
  message: string;
}

/** Above this share of a limit a pressure condition is True. */
const PRESSURE_SHARE = 0.85;
/** Conditions whose value is known only from the bridge: kept while it says nothing. */
export const FROM_BRIDGE: readonly SessionConditionType[] = [
  "RuntimeInstalled",
  "PidPressure",
  "MemoryPressure",
  "DiskPressure",
  "PidIsolation",
];

/** All conditions of a session but those that only a silent bridge could tell. Messages hold no changing numbers. */
export function findings(observed: Observed, problem: Problem | undefined, now: Date): Finding[] {
  const want = wanted(observed, now);
  const pod = observed.pod && isOurs(observed.pod, observed.session) ? observed.pod : undefined;
  return [
    ready({ observed, pod, want }, problem),
    suspended(observed, want),
    podScheduled(pod),
    bridgeReady(pod, observed.bridge),
    ...finished(observed, want),
    ...(pod ? [updateAvailable(observed)] : []),
    ...(pod && observed.bridge ? fromBridge(observed, observed.bridge) : []),
  ];
}

function finding(
  type: SessionConditionType,
  status: boolean | "Unknown",
  reason: string,
  message: string,
): Finding {
  const word = status === "Unknown" ? status : status ? "True" : "False";
  return { type, status: word, reason, message: message.slice(0, 4096) };
}

const STALE = "the controller has heard nothing of pods and volumes for two minutes";

interface Seen {
  observed: Observed;
  pod: Pod | undefined;
  want: Want;
}

function ready(seen: Seen, problem: Problem | undefined): Finding {
  const { observed, pod } = seen;
  if (observed.stale) return finding("Ready", "Unknown", "ObservationStale", STALE);
  const cause = problem ?? obstacle(seen);
  if (cause) return finding("Ready", false, cause.reason, cause.message);
  const warning = pod && observed.bridge?.warning;
  const words = `a message sent now reaches the agent${warning ? `. ${warning}` : ""}`;
  return finding("Ready", true, "DependenciesReady", words);
}

/** The first thing that stands between a message and the agent. */
function obstacle({ observed, pod, want }: Seen): Problem | undefined {
  const { session, extraPods } = observed;
  if (session.metadata.deletionTimestamp) {
    return { reason: "DependenciesNotReady", message: "the session is being deleted" };
  }
  const atRest = unwanted(session, want);
  if (atRest) return atRest;
  if (extraPods.length > 0) {
    const names = extraPods.slice(0, 5).join(", ");
    return { reason: "MultiplePods", message: `more pods claim this session: delete ${names}` };
  }
  if (!pod) return { reason: "DependenciesNotReady", message: "the pod is being created" };
  return unboundClaim(observed) ?? podObstacle(pod, observed.bridge) ?? gatewayObstacle(observed);
}

function unboundClaim({ unbound }: Observed): Problem | undefined {
  if (!unbound) return undefined;
  const { claim, words } = unbound;
  const { namespace, name } = claim.metadata;
  const storage = claim.spec.storageClassName;
  const cause = storage
    ? `StorageClass ${storage} is missing or provides nothing: make it, or name another`
    : "it names no StorageClass and the cluster has no default one: make one the default, or name one";
  const where = "in spec.volumeClaimTemplates of a new session (kubectl get storageclass)";
  const said = words ? ` (${words})` : "";
  const message = `PersistentVolumeClaim ${namespace}/${name} is not bound${said}: ${cause} ${where}`;
  return { reason: "Unschedulable", message };
}

/** Why no agent is meant to run. */
function unwanted({ metadata, spec }: Observed["session"], want: Want): Problem | undefined {
  if (want.state === "Running") return undefined;
  if (want.state === "Finished") return { reason: want.reason, message: FINISHED[want.reason] };
  if (want.by === "Person") {
    const message = "spec.operatingMode is Suspended: set it to Running to continue";
    return { reason: "SessionSuspended", message };
  }
  const restart = `only \`argus sessions restart ${metadata.name}\` wakes it`;
  const wake = spec.idle.wakeOn.length > 0 ? "a message wakes it" : restart;
  const message = `nobody needed it for spec.idle.suspendAfterSeconds; ${wake}`;
  return { reason: "SessionSuspended", message };
}

const FINISHED = {
  SessionExpired: "spec.shutdownTime has passed: set a later one to continue",
  PodSucceeded: "the pod has done its work and its restartPolicy lets it rest",
  PodFailed: "the pod failed and its restartPolicy lets it rest: see status.lastTermination",
} as const;

function podObstacle(pod: Pod, bridge: BridgeStatus | undefined): Problem | undefined {
  const where = `pod ${pod.metadata.namespace}/${pod.metadata.name}`;
  const stuck = startProblem(pod);
  if (stuck) return stuck;
  if (pod.metadata.deletionTimestamp) {
    return { reason: "DependenciesNotReady", message: `${where} is ending, a new one follows` };
  }
  if (!isAgentRunning(pod)) {
    return { reason: "DependenciesNotReady", message: `${where} is starting` };
  }
  if (isPodReady(pod)) return undefined;
  return { reason: "BridgeNotReady", message: bridgeWords(where, bridge) };
}

function bridgeWords(where: string, bridge: BridgeStatus | undefined): string {
  if (bridge?.install.state === "failed") {
    return `spec.runtime.install failed in ${where}: see the condition RuntimeInstalled`;
  }
  if (bridge?.install.state === "running") return `spec.runtime.install runs in ${where}`;
  const reason = bridge?.reason ? `: ${bridge.reason}` : "";
  if (bridge?.state === "failed") return `the app-server in ${where} does not run${reason}`;
  return `the app-server in ${where} does not answer yet${reason}`;
}

/** Why, by the gateway's word, a message would not be answered, however well the pod is. */
function gatewayObstacle({ session }: Observed): Problem | undefined {
  const bad = Object.keys(GATEWAY_REASONS).find((type) => gatewayCondition(session, type));
  const message = bad === undefined ? undefined : gatewayCondition(session, bad)?.message;
  return bad === undefined
    ? undefined
    : { reason: GATEWAY_REASONS[bad] ?? bad, message: message ?? "" };
}

const GATEWAY_REASONS: Record<string, string> = {
  StateReadable: "StateUnreadable",
  LaneProgressing: "LaneNotProgressing",
  DeliveriesHealthy: "DeliveriesNotHealthy",
};

function gatewayCondition({ status }: Observed["session"], type: string) {
  return status?.conditions?.find((each) => each.type === type && each.status === "False");
}

function suspended({ session, pod }: Observed, want: Want): Finding {
  const resting = want.state === "Suspended" || (want.state === "Finished" && !pod);
  const expired = want.state === "Finished" && want.reason === "SessionExpired";
  if (!resting && !expired) {
    return finding("Suspended", false, "NotSuspended", "the session is meant to run");
  }
  if (!pod) return finding("Suspended", true, "PodTerminated", "the pod is gone");
  const { name } = pod.metadata;
  if (!isOurs(pod, session)) {
    return finding("Suspended", false, "PodNotOwned", `pod ${name} is not this session's`);
  }
  if (isLost(pod)) {
    const words = `node ${pod.spec.nodeName} does not tell whether pod ${name} has ended`;
    return finding("Suspended", "Unknown", "PodStateUnknown", words);
  }
  if (pod.metadata.deletionTimestamp) {
    return finding("Suspended", false, "PodTerminating", `pod ${name} is ending`);
  }
  return finding("Suspended", false, "Suspending", `pod ${name} is about to be deleted`);
}

/** Shown from the first time on that it was true. */
function finished({ session }: Observed, want: Want): Finding[] {
  if (want.state === "Finished") {
    return [finding("Finished", true, want.reason, FINISHED[want.reason])];
  }
  const known = session.status?.conditions?.some(({ type }) => type === "Finished");
  return known ? [finding("Finished", false, "NotFinished", "")] : [];
}

function updateAvailable({ session, outdated }: Observed): Finding {
  if (!outdated) return finding("UpdateAvailable", false, "UpToDate", "");
  const { name } = session.metadata;
  const words = `the next start brings ${outdated}: \`argus sessions restart ${name}\` makes it now`;
  return finding("UpdateAvailable", true, "InstallationChanged", words);
}

function podScheduled(pod: Pod | undefined): Finding {
  if (!pod) return finding("PodScheduled", false, "NoPod", "there is no pod");
  const condition = podCondition(pod, "PodScheduled");
  if (!condition) return finding("PodScheduled", "Unknown", "Pending", "not yet decided");
  const status = condition.status === "Unknown" ? "Unknown" : condition.status === "True";
  const reason = condition.reason || (status === true ? "Scheduled" : "Pending");
  return finding("PodScheduled", status, reason, condition.message ?? "");
}

function bridgeReady(pod: Pod | undefined, bridge: BridgeStatus | undefined): Finding {
  if (!pod || !isAgentRunning(pod)) {
    return finding("BridgeReady", false, "PodNotRunning", "the agent's container does not run");
  }
  if (isPodReady(pod)) {
    if (bridge?.state === "parked") {
      return finding("BridgeReady", true, "Parked", "the app-server starts with the next message");
    }
    return finding("BridgeReady", true, "AppServerResponding", "the app-server answers");
  }
  if (bridge?.clockSkewMs !== undefined) {
    const words = "clocks of pod and gateway differ too much: check NTP on their nodes";
    return finding("BridgeReady", false, "ClockSkew", words);
  }
  const reason = bridge?.state === "failed" ? "AppServerNotResponding" : "AppServerStarting";
  return finding("BridgeReady", false, reason, bridge?.reason ?? "");
}

function fromBridge({ session, uid }: Observed, bridge: BridgeStatus): Finding[] {
  const asked = uid === USER_NAMESPACE_UID;
  const isolated = asked
    ? bridge.pidIsolation === "UserNamespace"
    : bridge.pidIsolation !== "Degraded";
  return [
    runtimeInstalled(session.spec.runtime.install, bridge),
    ...pressure("PidPressure", bridge.pids),
    ...pressure("MemoryPressure", bridge.memory),
    ...pressure("DiskPressure", bridge.disk),
    finding(
      "PidIsolation",
      isolated,
      isolated ? bridge.pidIsolation : "Degraded",
      isolated ? "the process limit holds" : isolationWords(asked),
    ),
  ];
}

function isolationWords(asked: boolean): string {
  return asked
    ? "the pod asked for a user namespace and did not get one: its node's container runtime ignores hostUsers"
    : "the session shares its user id or process namespace";
}

function runtimeInstalled(install: string | undefined, bridge: BridgeStatus): Finding {
  const { state, tail } = bridge.install;
  if (!install || state === "none") {
    return finding("RuntimeInstalled", true, "NothingToInstall", "spec.runtime.install is empty");
  }
  if (state === "done") return finding("RuntimeInstalled", true, "Installed", "");
  if (state === "running") return finding("RuntimeInstalled", false, "Installing", "");
  return finding(
    "RuntimeInstalled",
    false,
    "InstallFailed",
    `spec.runtime.install failed; its last lines:\n${lastLines(tail ?? "", 20)}`,
  );
}

function lastLines(text: string, count: number): string {
  return text.trimEnd().split("\n").slice(-count).join("\n");
}

function pressure(
  type: "PidPressure" | "MemoryPressure" | "DiskPressure",
  gauge: { used: number; limit: number } | undefined,
): Finding[] {
  if (!gauge || gauge.limit <= 0) return [];
  const above = gauge.used > PRESSURE_SHARE * gauge.limit;
  const words = above ? "more than 85 % of the limit is in use" : "";
  return [finding(type, above, above ? "AboveThreshold" : "BelowThreshold", words)];
}
