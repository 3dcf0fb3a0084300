import type { PersistentVolumeClaim, Pod } from "#cluster/core-types.ts";
import { controllerOf, isControlledBy, ownerReference, refOf } from "#cluster/objects.ts";
import {
  argusSessions,
  persistentVolumeClaims,
  pods,
  serviceAccounts,
} from "#cluster/resources.ts";
import type { JsonPatchOperation, KubeObject, ObjectRef, Resource } from "#cluster/types.ts";
import { LABEL, POD } from "#protocol/pod.ts";
import { networkViolations } from "../network/session-policy.ts";
import { buildClaims, diesWithSession } from "./claims.ts";
import { extraActions, labelPatch } from "./extras.ts";
import { isOurClaim, isOurs, type Observed } from "./observe.ts";
import { buildPod, type PodSettings } from "./pod.ts";
import { isLost } from "./pod-state.ts";
import { isMarked, type Want, wanted } from "./temperature.ts";
import { violations } from "./violations.ts";

/** One write. Deletes carry the UID that was looked at, creates have a name that only this session gives. */
export type Action =
  | { do: "claimUid" }
  | { do: "create"; resource: Resource; object: KubeObject }
  | { do: "delete"; ref: ObjectRef; uid: string; why: string }
  | { do: "patch"; ref: ObjectRef; patch: JsonPatchOperation[] };

/** Why the session cannot become what it should be; `reason` goes into the Ready condition. */
export interface Problem {
  reason: string;
  /** Names the object and what a person can do. */
  message: string;
  /** Nothing changes until the spec does. */
  terminal?: boolean;
}

export interface Plan {
  actions: Action[];
  problem?: Problem;
  requeueAfterMs?: number;
  /** The status must say first what comes, and only if nothing changed since it was decided. */
  mark?: boolean;
}

/** A pod that ended for good is replaced at most this often. */
const REPLACE_INTERVAL_MS = 10_000;
/** While the caches are behind nothing is decided. */
const STALE_MS = 10_000;

/** What is to be written so that the cluster matches the session. Pure; no action = nothing differs. */
export function plan(observed: Observed, settings: PodSettings, now: Date): Plan {
  const { session, pod } = observed;
  if (session.metadata.deletionTimestamp) return { actions: [] };
  if (observed.stale) return { actions: [], requeueAfterMs: STALE_MS };
  if (pod && !isOurs(pod, session)) return { actions: [], problem: podNotOwned(pod) };
  const want = wanted(observed, now);
  if (want.state === "Suspended") return suspended(observed);
  if (want.state === "Finished") return finished(observed, want, now);
  const next = running(observed, settings, now);
  const times = [want.changesInMs, next.requeueAfterMs].filter((ms) => ms !== undefined);
  return times.length > 0 ? { ...next, requeueAfterMs: Math.min(...times) } : next;
}

function running(observed: Observed, settings: PodSettings, now: Date): Plan {
  const { session, pod } = observed;
  const wrong = [...violations(session), ...networkViolations(session)];
  if (wrong.length > 0) return { actions: [], problem: specInvalid(wrong) };
  const foreign = foreignClaim(observed);
  if (foreign) return { actions: [], problem: foreign };
  return pod ? withPod(observed, pod, now) : withoutPod(observed, settings);
}

/** The status says first that the pod will go, with the version that was decided on: demand that came meanwhile wins. */
function suspended(observed: Observed): Plan {
  const { session, pod, claims } = observed;
  if (pod?.metadata.deletionTimestamp) return { actions: [] };
  // A pod on a silent node is asked to go and shows it when the node is back.
  if (pod && !isMarked(observed) && !isLost(pod)) return { actions: [], mark: true };
  if (pod) return { actions: deletion(pods, pod, "the session is suspended") };
  const { whenSuspended, confirmDataLoss } = session.spec.persistentVolumeClaimRetentionPolicy;
  if (whenSuspended !== "Delete" || !confirmDataLoss) return { actions: [] };
  const ours = [...claims.values()].filter((claim) => isOurClaim(claim, session));
  const why = "the session is suspended and its retention policy deletes";
  return { actions: ours.flatMap((claim) => deletion(persistentVolumeClaims, claim, why)) };
}

/** An expired session loses its pod; a finished one is deleted when its time to live is over. */
function finished(
  { session, pod }: Observed,
  { reason }: Extract<Want, { state: "Finished" }>,
  now: Date,
): Plan {
  const { shutdownPolicy, ttlSecondsAfterFinished: ttl } = session.spec;
  const expired = reason === "SessionExpired";
  if (expired && shutdownPolicy === "Delete") {
    return { actions: deletion(argusSessions, session, "spec.shutdownTime has passed") };
  }
  const actions = expired && pod ? deletion(pods, pod, "spec.shutdownTime has passed") : [];
  const since = session.status?.conditions?.find(
    ({ type, status }) => type === "Finished" && status === "True",
  );
  if (actions.length > 0 || ttl === undefined || !since) return { actions };
  const leftMs = Date.parse(since.lastTransitionTime) + ttl * 1000 - now.getTime();
  if (leftMs > 0) return { actions: [], requeueAfterMs: leftMs };
  return { actions: deletion(argusSessions, session, "spec.ttlSecondsAfterFinished is over") };
}

/** The successor is made only when this pod's object is gone. */
function withPod(observed: Observed, pod: Pod, now: Date): Plan {
  const owners = [...ownershipPatches(observed), ...extraActions(observed)];
  if (pod.metadata.deletionTimestamp) return { actions: owners };
  // One that a pod uses cannot go; one that is missing keeps the pod from starting.
  owners.push(...missingClaims(observed), ...labelPatch(observed));
  if (observed.drifted) {
    const why = "the session's spec or the gateway's address changed, or a restart was asked for";
    return { actions: [...owners, ...deletion(pods, pod, why)] };
  }
  if (!hasEnded(pod)) return { actions: owners };
  const waitMs = createdMs(pod) + REPLACE_INTERVAL_MS - now.getTime();
  if (waitMs > 0) return { actions: owners, requeueAfterMs: waitMs };
  return { actions: [...owners, ...deletion(pods, pod, `the pod ended (${endOf(pod)})`)] };
}

function withoutPod(observed: Observed, settings: PodSettings): Plan {
  const { session, uid, claims, serviceAccountExists } = observed;
  if (uid === undefined) return { actions: [{ do: "claimUid" }] };
  const ending = [...claims.values()].find((claim) => claim.metadata.deletionTimestamp);
  if (ending) return { actions: [], problem: claimEnding(ending) };
  const namespace = session.metadata.namespace ?? "";
  return {
    actions: [
      ...ownershipPatches(observed),
      ...extraActions(observed),
      ...missingClaims(observed),
      ...(serviceAccountExists ? [] : [create(serviceAccounts, serviceAccount(namespace))]),
      create(pods, buildPod(session, uid, settings)),
    ],
  };
}

function missingClaims({ session, claims }: Observed): Action[] {
  return buildClaims(session)
    .filter((claim) => !claims.has(claim.metadata.name))
    .map((object) => create(persistentVolumeClaims, object));
}

/** Brings the claims' owner into line with whenDeleted, which may change while they live. */
function ownershipPatches({ session, claims }: Observed): Action[] {
  const wanted = diesWithSession(session);
  const uid = session.metadata.uid;
  return [...claims.values()]
    .filter((claim) => isOurClaim(claim, session) && isControlledBy(claim, uid) !== wanted)
    .map((claim) => {
      const others = (claim.metadata.ownerReferences ?? []).filter((owner) => owner.uid !== uid);
      const value = wanted ? [...others, ownerReference(argusSessions, session)] : others;
      return {
        do: "patch",
        ref: refOf(persistentVolumeClaims, claim),
        patch: [
          { op: "test", path: "/metadata/uid", value: claim.metadata.uid },
          { op: "add", path: "/metadata/ownerReferences", value },
        ],
      } as const;
    });
}

function create(resource: Resource, object: KubeObject): Action {
  return { do: "create", resource, object };
}

function deletion(resource: Resource, object: KubeObject, why: string): Action[] {
  const { uid = "", deletionTimestamp } = object.metadata;
  return deletionTimestamp ? [] : [{ do: "delete", ref: refOf(resource, object), uid, why }];
}

function serviceAccount(namespace: string): KubeObject {
  return {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: POD.serviceAccount, namespace, labels: { [LABEL.component]: "session" } },
    automountServiceAccountToken: false,
  } as KubeObject;
}

/** With restartPolicy Always the kubelet restarts containers; a pod that ended all the same was evicted or lost. */
function hasEnded({ spec, status }: Pod): boolean {
  const ended = status?.phase === "Failed" || status?.phase === "Succeeded";
  return ended && (spec.restartPolicy ?? "Always") === "Always";
}

function endOf({ status }: Pod): string {
  return status?.reason ?? status?.phase ?? "unknown";
}

function createdMs({ metadata }: Pod): number {
  return Date.parse(metadata.creationTimestamp ?? "") || 0;
}

export function podNotOwned(pod: Pod): Problem {
  const { namespace, name } = pod.metadata;
  const owner = controllerOf(pod);
  const whose = owner ? `${owner.kind} ${owner.name} owns it` : "it has no owner";
  return {
    reason: "PodNotOwned",
    message: `pod ${namespace}/${name} is not this session's (${whose}): delete or rename it`,
  };
}

function foreignClaim({ session, claims }: Observed): Problem | undefined {
  const foreign = [...claims.values()].find((claim) => !isOurClaim(claim, session));
  if (!foreign) return undefined;
  const { namespace, name } = foreign.metadata;
  return {
    reason: "DependenciesNotReady",
    message: `PersistentVolumeClaim ${namespace}/${name} was not made for this session: delete or rename it`,
  };
}

function claimEnding({ metadata }: PersistentVolumeClaim): Problem {
  return {
    reason: "DependenciesNotReady",
    message: `PersistentVolumeClaim ${metadata.namespace}/${metadata.name} is being deleted; a new one follows when it is gone`,
  };
}

function specInvalid(wrong: string[]): Problem {
  const message = `the spec cannot be used: ${wrong.join("; ")}`.slice(0, 2048);
  return { reason: "SpecInvalid", message, terminal: true };
}
