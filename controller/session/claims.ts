import type { PersistentVolumeClaim } from "#cluster/core-types.ts";
import { childName, labelValue, ownerReference } from "#cluster/objects.ts";
import { argusSessions } from "#cluster/resources.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { LABEL } from "#protocol/pod.ts";

type ClaimTemplate = NonNullable<ArgusSession["spec"]["volumeClaimTemplates"]>[number];

const DEFAULT_TEMPLATE: ClaimTemplate = {
  metadata: { name: "workspace" },
  spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "5Gi" } } },
};

/** The session's volume claim templates; a session without any gets one workspace. */
export function claimTemplates({ spec }: Pick<ArgusSession, "spec">): ClaimTemplate[] {
  return spec.volumeClaimTemplates?.length ? spec.volumeClaimTemplates : [DEFAULT_TEMPLATE];
}

/** Name of the template whose claim is the agent's home: `workspace`, else the first. */
export function homeTemplate(session: Pick<ArgusSession, "spec">): string {
  const names = claimTemplates(session).map(({ metadata }) => metadata.name);
  return names.find((name) => name === "workspace") ?? names[0] ?? "workspace";
}

/** `workspace-main-1a2b3c4d`. */
export function claimName(session: ArgusSession, template: string): string {
  const { name, uid = "" } = session.metadata;
  return `${template}-${childName({ name, uid })}`;
}

/** The claims that the session wants. Only with whenDeleted: Delete do they belong to it and go with it. */
export function buildClaims(session: ArgusSession): PersistentVolumeClaim[] {
  return claimTemplates(session).map(({ metadata, spec }) => ({
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: {
      name: claimName(session, metadata.name),
      namespace: session.metadata.namespace ?? "",
      labels: { ...metadata.labels, ...sessionLabels(session) },
      annotations: { ...metadata.annotations, [LABEL.sessionName]: session.metadata.name },
      ...(diesWithSession(session)
        ? { ownerReferences: [ownerReference(argusSessions, session)] }
        : {}),
    },
    spec,
  }));
}

export function diesWithSession({ spec }: Pick<ArgusSession, "spec">): boolean {
  return spec.persistentVolumeClaimRetentionPolicy.whenDeleted === "Delete";
}

/** Labels of every child of a session. */
export function sessionLabels(session: ArgusSession): Record<string, string> {
  return {
    [LABEL.session]: labelValue(session),
    [LABEL.sessionUid]: session.metadata.uid ?? "",
    [LABEL.component]: "session",
  };
}
