import { GROUP, VERSION } from "#crds/kinds.ts";
import type { Resource } from "./types.ts";

const core = (plural: string, kind: string): Resource => ({
  group: "",
  version: "v1",
  plural,
  kind,
});

export const pods = core("pods", "Pod");
export const persistentVolumeClaims = core("persistentvolumeclaims", "PersistentVolumeClaim");
export const secrets = core("secrets", "Secret");
export const configMaps = core("configmaps", "ConfigMap");
export const serviceAccounts = core("serviceaccounts", "ServiceAccount");
export const services = core("services", "Service");
export const events = core("events", "Event");
export const namespaces = core("namespaces", "Namespace");
export const nodes = core("nodes", "Node");
export const leases: Resource = {
  group: "coordination.k8s.io",
  version: "v1",
  plural: "leases",
  kind: "Lease",
};
export const networkPolicies: Resource = {
  group: "networking.k8s.io",
  version: "v1",
  plural: "networkpolicies",
  kind: "NetworkPolicy",
};
export const tokenReviews: Resource = {
  group: "authentication.k8s.io",
  version: "v1",
  plural: "tokenreviews",
  kind: "TokenReview",
};
export const customResourceDefinitions: Resource = {
  group: "apiextensions.k8s.io",
  version: "v1",
  plural: "customresourcedefinitions",
  kind: "CustomResourceDefinition",
};
export const argusSessions: Resource = {
  group: GROUP,
  version: VERSION,
  plural: "argussessions",
  kind: "ArgusSession",
};
export const argusCrons: Resource = {
  group: GROUP,
  version: VERSION,
  plural: "arguscrons",
  kind: "ArgusCron",
};

/** `v1`, `argus.dev/v1alpha1`. */
export function apiVersionOf({ group, version }: Resource): string {
  return group ? `${group}/${version}` : version;
}

/** Path of a collection; without a namespace that of the whole cluster. */
export function collectionPath(resource: Resource, namespace?: string): string {
  const { group, version, plural } = resource;
  const root = group ? `/apis/${group}/${version}` : `/api/${version}`;
  const scope = namespace ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  return `${root}${scope}/${plural}`;
}

/** Path of one object; an empty namespace means cluster-scoped. */
export function objectPath(resource: Resource, namespace: string, name: string): string {
  return `${collectionPath(resource, namespace)}/${encodeURIComponent(name)}`;
}
