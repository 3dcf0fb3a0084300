import type { Pod, PodStatus } from "#cluster/core-types.ts";
import { ownerReference } from "#cluster/objects.ts";
import { argusSessions } from "#cluster/resources.ts";
import { compared, type Observed } from "#controller/session/observe.ts";
import { buildPod, type PodSettings, uidFor } from "#controller/session/pod.ts";
import { ArgusSessionSpec, type ArgusSessionSpecInput } from "#crds/argus-session.ts";
import type { ArgusSession } from "#crds/kinds.ts";

export const SETTINGS: PodSettings = {
  defaultImage: "argus:test",
  gatewayUrl: "http://gateway:8080",
};
export const NOW = new Date("2030-01-01T12:00:00Z");

/** A session as the API server would hand it out, defaults in place. */
export function sessionOf(
  spec: ArgusSessionSpecInput = {},
  more: Partial<ArgusSession> = {},
): ArgusSession {
  return {
    apiVersion: "argus.dev/v1alpha1",
    kind: "ArgusSession",
    metadata: { name: "main", namespace: "default", uid: "uid-1", generation: 3 },
    spec: ArgusSessionSpec.parse(spec),
    ...more,
  };
}

/** The pod that the session would get, as the API server would hand it out. */
export function podOf(session: ArgusSession, status: PodStatus = {}, uid = 200_000): Pod {
  const pod = buildPod(session, uid, SETTINGS);
  const metadata = {
    ...pod.metadata,
    uid: "pod-uid",
    creationTimestamp: "2030-01-01T11:00:00Z",
    ownerReferences: [ownerReference(argusSessions, session)],
  };
  return { ...pod, metadata, status };
}

export function observedOf(
  session: ArgusSession,
  more: Partial<Observed> = {},
  settings: PodSettings = SETTINGS,
): Observed {
  const uid = uidFor(session, "uid" in more ? more.uid : 200_000, settings);
  return {
    session,
    stale: false,
    pod: undefined,
    ...compared(session, more.pod, { uid, settings }),
    extraPods: [],
    claims: new Map(),
    unbound: undefined,
    extras: { service: undefined, policy: undefined },
    serviceAccountExists: true,
    bridge: undefined,
    ...more,
    uid,
  };
}
