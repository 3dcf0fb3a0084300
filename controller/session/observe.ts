import type { PersistentVolumeClaim, Pod } from "#cluster/core-types.ts";
import { isControlledBy } from "#cluster/objects.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import type { BridgeStatus } from "#protocol/bridge.ts";
import { LABEL } from "#protocol/pod.ts";
import { claimName, claimTemplates } from "./claims.ts";
import type { Extras } from "./extras.ts";
import { buildPod, type PodSettings, podName, uidFor } from "./pod.ts";
import { podCondition } from "./pod-state.ts";
import { specHash } from "./spec-hash.ts";

/** Everything that a decision about one session rests on. */
export interface Observed {
  session: ArgusSession;
  /** The caches heard nothing for so long that what they show may not be so any more. */
  stale: boolean;
  /** The user id of the session's pod; undefined = none claimed yet. */
  uid: number | undefined;
  /** The pod under the session's deterministic name, whoever owns it. */
  pod: Pod | undefined;
  /** What people wrote is no longer what the pod was made from. */
  drifted: boolean;
  /** The installation would make another pod today; says what differs. */
  outdated: string | undefined;
  /** Names of further pods that say they belong to this session. */
  extraPods: string[];
  /** The session's volume claims that exist, by name, whoever made them. */
  claims: ReadonlyMap<string, PersistentVolumeClaim>;
  /** The first claim that the pod waits for, with what is said about it; undefined = it waits for none. */
  unbound: { claim: PersistentVolumeClaim; words: string | undefined } | undefined;
  extras: Extras;
  serviceAccountExists: boolean;
  /** What the bridge said last; undefined = nothing yet. */
  bridge: BridgeStatus | undefined;
}

/** Where the facts come from; all of it is in memory. */
export interface Sources {
  pod(key: string): Pod | undefined;
  podsOf(sessionUid: string): Pod[];
  claim(key: string): PersistentVolumeClaim | undefined;
  /** Why the claim is not bound, in the words of who should serve it. */
  claimWords(claim: PersistentVolumeClaim): string | undefined;
  uidOf(session: ArgusSession): number | undefined;
  /** The Service and the network policy under the session's child name. */
  extras(key: string): Extras;
  serviceAccountExists(): boolean;
  bridge(pod: Pod): BridgeStatus | undefined;
  isStale(): boolean;
}

export function observe(session: ArgusSession, sources: Sources, settings: PodSettings): Observed {
  const { namespace = "", uid: sessionUid = "" } = session.metadata;
  const name = podName(session);
  const pod = sources.pod(`${namespace}/${name}`);
  const claimNames = claimTemplates(session).map(({ metadata }) =>
    claimName(session, metadata.name),
  );
  const claims = claimNames
    .map((claim) => sources.claim(`${namespace}/${claim}`))
    .filter((claim) => claim !== undefined);
  const uid = uidFor(session, sources.uidOf(session), settings);
  return {
    session,
    stale: sources.isStale(),
    uid,
    pod,
    ...compared(session, pod, { uid, settings }),
    extraPods: sources
      .podsOf(sessionUid)
      .filter((each) => each.metadata.name !== name && isControlledBy(each, sessionUid))
      .map(({ metadata }) => metadata.name)
      .sort(),
    claims: new Map(claims.map((claim) => [claim.metadata.name, claim])),
    unbound: unboundClaim(pod, claims, sources),
    extras: sources.extras(`${namespace}/${name}`),
    serviceAccountExists: sources.serviceAccountExists(),
    bridge: pod && isOurs(pod, session) ? sources.bridge(pod) : undefined,
  };
}

/** The scheduler says only that some claim is not bound, never which and why. */
function unboundClaim(
  pod: Pod | undefined,
  claims: PersistentVolumeClaim[],
  sources: Pick<Sources, "claimWords">,
): Observed["unbound"] {
  const scheduled = pod && podCondition(pod, "PodScheduled");
  if (scheduled?.status !== "False" || !/PersistentVolumeClaim/i.test(scheduled.message ?? "")) {
    return undefined;
  }
  const claim = claims.find(({ status }) => status?.phase === "Pending");
  return claim && { claim, words: sources.claimWords(claim) };
}

/** How an existing pod differs from what it was made from, and from what would be made today. */
export function compared(
  session: ArgusSession,
  pod: Pod | undefined,
  { uid, settings }: { uid: number | undefined; settings: PodSettings },
): Pick<Observed, "drifted" | "outdated"> {
  if (!pod || !isOurs(pod, session)) return { drifted: false, outdated: undefined };
  const made = pod.metadata.annotations ?? {};
  const drifted = made[LABEL.specHash] !== specHash(session, settings.gatewayUrl);
  if (drifted || uid === undefined) return { drifted, outdated: undefined };
  const next = buildPod(session, uid, settings);
  if (made[LABEL.podHash] === next.metadata.annotations?.[LABEL.podHash]) {
    return { drifted, outdated: undefined };
  }
  const [from, to] = [pod, next].map(({ spec }) => spec.containers[0]?.image);
  return { drifted, outdated: from === to ? "other settings" : `image ${to} instead of ${from}` };
}

/** A pod is ours when its controlling owner is this very session. */
export function isOurs(pod: Pod, session: ArgusSession): boolean {
  return isControlledBy(pod, session.metadata.uid);
}

/** A claim may outlive its session, so it is known by the label with the session's UID. */
export function isOurClaim(claim: PersistentVolumeClaim, session: ArgusSession): boolean {
  return claim.metadata.labels?.[LABEL.sessionUid] === session.metadata.uid;
}
