import { isDeepStrictEqual } from "node:util";
import { childName, isControlledBy, ownerReference, refOf } from "#cluster/objects.ts";
import { argusSessions, networkPolicies, pods, services } from "#cluster/resources.ts";
import type { JsonPatchOperation, KubeObject, Resource } from "#cluster/types.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { LABEL, POD } from "#protocol/pod.ts";
import type { NetworkPolicy } from "../network/policies.ts";
import { networkLabels } from "../network/policies.ts";
import { sessionPolicy } from "../network/session-policy.ts";
import { sessionLabels } from "./claims.ts";
import type { Observed } from "./observe.ts";
import type { Action } from "./plan.ts";

/** Children that a session has only when it asks for them; all have its child name. */
export interface Extras {
  service: KubeObject | undefined;
  policy: NetworkPolicy | undefined;
}

/** Brings the headless Service and the session's own network policy into line. */
export function extraActions({ session, extras }: Observed): Action[] {
  const policy = sessionPolicy(session);
  return [
    ...line(session, services, { wanted: serviceOf(session), found: extras.service }),
    ...line(session, networkPolicies, { wanted: policy, found: extras.policy }),
    ...redrawn(session, { wanted: policy, found: extras.policy }),
  ];
}

function line(
  session: ArgusSession,
  resource: Resource,
  { wanted, found }: { wanted: KubeObject | undefined; found: KubeObject | undefined },
): Action[] {
  if (wanted && !found) return [{ do: "create", resource, object: wanted }];
  if (wanted || !found || found.metadata.deletionTimestamp) return [];
  // What somebody else made under this name is his.
  if (!isControlledBy(found, session.metadata.uid)) return [];
  const { uid = "" } = found.metadata;
  return [
    { do: "delete", ref: refOf(resource, found), uid, why: "the session asks for it no more" },
  ];
}

function redrawn(
  session: ArgusSession,
  { wanted, found }: { wanted: NetworkPolicy | undefined; found: NetworkPolicy | undefined },
): Action[] {
  if (!wanted || !found || !isControlledBy(found, session.metadata.uid)) return [];
  if (isDeepStrictEqual(found.spec, wanted.spec)) return [];
  const op = { op: "add", path: "/spec", value: wanted.spec } as const;
  return [{ do: "patch", ref: refOf(networkPolicies, found), patch: [sameUid(found), op] }];
}

function sameUid({ metadata }: KubeObject): JsonPatchOperation {
  return { op: "test", path: "/metadata/uid", value: metadata.uid };
}

/** A name in DNS for the session's pod. */
function serviceOf(session: ArgusSession): KubeObject | undefined {
  if (!session.spec.service) return undefined;
  const { name, namespace = "", uid = "" } = session.metadata;
  const { bridge } = POD.ports;
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: {
      name: childName({ name, uid }),
      namespace,
      labels: sessionLabels(session),
      annotations: { [LABEL.sessionName]: name },
      ownerReferences: [ownerReference(argusSessions, session)],
    },
    spec: {
      clusterIP: "None",
      selector: { [LABEL.sessionUid]: uid },
      ports: [{ name: bridge.name, port: bridge.number, targetPort: bridge.name, protocol: "TCP" }],
    },
  } as KubeObject;
}

/** The network policies find a pod by its labels, which may change while it runs. */
export function labelPatch({ session, pod }: Observed): Action[] {
  if (!pod) return [];
  const wanted = networkLabels(session);
  const has = pod.metadata.labels ?? {};
  const changes = [LABEL.network, LABEL.egress].flatMap((label): JsonPatchOperation[] => {
    if (has[label] === wanted[label]) return [];
    const path = `/metadata/labels/${label.replaceAll("~", "~0").replaceAll("/", "~1")}`;
    const value = wanted[label];
    return [value === undefined ? { op: "remove", path } : { op: "add", path, value }];
  });
  if (changes.length === 0) return [];
  return [{ do: "patch", ref: refOf(pods, pod), patch: [sameUid(pod), ...changes] }];
}
