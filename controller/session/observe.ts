import type { PersistentVolumeClaim, Pod } from "#cluster/core-types.ts";
import { isControlledBy } from "#cluster/objects.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import type { BridgeStatus } from "#protocol/bridge.ts";
import { LABEL } from "#protocol/pod.ts";
import { claimName, claimTemplates } from "./claims.ts";
import { podName } from "./pod.ts";

/** Everything that a decision about one session rests on. */
export interface Observed {
  session: ArgusSession;
  /** The session's user id; undefined = none claimed yet. */
  uid: number | undefined;
  /** The pod under the session's deterministic name, whoever owns it. */
  pod: Pod | undefined;
  /** Names of further pods that say they belong to this session. */
  extraPods: string[];
  /** The session's volume claims that exist, by name, whoever made them. */
  claims: ReadonlyMap<string, PersistentVolumeClaim>;
  serviceAccountExists: boolean;
  /** What the bridge said last; undefined = nothing yet. */
  bridge: BridgeStatus | undefined;
}

/** Where the facts come from; all of it is in memory. */
export interface Sources {
  pod(key: string): Pod | undefined;
  podsOf(sessionUid: string): Pod[];
  claim(key: string): PersistentVolumeClaim | undefined;
  uidOf(session: ArgusSession): number | undefined;
  serviceAccountExists(): boolean;
  bridge(pod: Pod): BridgeStatus | undefined;
}

export function observe(session: ArgusSession, sources: Sources): Observed {
  const { namespace = "", uid = "" } = session.metadata;
  const name = podName(session);
  const pod = sources.pod(`${namespace}/${name}`);
  const claimNames = claimTemplates(session).map(({ metadata }) =>
    claimName(session, metadata.name),
  );
  const claims = claimNames
    .map((claim) => sources.claim(`${namespace}/${claim}`))
    .filter((claim) => claim !== undefined);
  return {
    session,
    uid: sources.uidOf(session),
    pod,
    extraPods: sources
      .podsOf(uid)
      .filter((each) => each.metadata.name !== name && isControlledBy(each, uid))
      .map(({ metadata }) => metadata.name)
      .sort(),
    claims: new Map(claims.map((claim) => [claim.metadata.name, claim])),
    serviceAccountExists: sources.serviceAccountExists(),
    bridge: pod && isOurs(pod, session) ? sources.bridge(pod) : undefined,
  };
}

/** A pod is ours when its controlling owner is this very session. */
export function isOurs(pod: Pod, session: ArgusSession): boolean {
  return isControlledBy(pod, session.metadata.uid);
}

/** A claim may outlive its session, so it is known by the label with the session's UID. */
export function isOurClaim(claim: PersistentVolumeClaim, session: ArgusSession): boolean {
  return claim.metadata.labels?.[LABEL.sessionUid] === session.metadata.uid;
}
