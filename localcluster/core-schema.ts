import shapes from "#localcluster/core-schemas.gen.json" with { type: "json" };
import { type Fields, isFields } from "./object.ts";
import type { Schema } from "./schema.ts";

/** What the generated shapes do not say: how lists are keyed, which maps are atomic, and defaults. */

const CONDITIONS = { conditions: ["type"] };
const CONTAINER = {
  env: ["name"],
  ports: ["containerPort", "protocol"],
  volumeMounts: ["mountPath"],
  volumeDevices: ["devicePath"],
};
const CLAIMS = { claims: ["name"] };

/** Key fields by type and list; an empty list of keys is a set. Every other list is atomic. */
const LIST_KEYS: Record<string, Record<string, string[]>> = {
  "v1.ObjectMeta": { finalizers: [], ownerReferences: ["uid"] },
  "v1.PodSpec": {
    containers: ["name"],
    initContainers: ["name"],
    ephemeralContainers: ["name"],
    volumes: ["name"],
    imagePullSecrets: ["name"],
    hostAliases: ["ip"],
    resourceClaims: ["name"],
    schedulingGates: ["name"],
    topologySpreadConstraints: ["topologyKey", "whenUnsatisfiable"],
  },
  "v1.Container": CONTAINER,
  "v1.EphemeralContainer": CONTAINER,
  "v1.ResourceRequirements": CLAIMS,
  "v1.PodStatus": { ...CONDITIONS, podIPs: ["ip"], hostIPs: ["ip"] },
  "v1.PersistentVolumeClaimStatus": CONDITIONS,
  "v1.NamespaceStatus": CONDITIONS,
  "v1.NodeSpec": { taints: ["key", "effect"], podCIDRs: [] },
  "v1.NodeStatus": { ...CONDITIONS, addresses: ["type"] },
  "v1.ServiceAccount": { imagePullSecrets: ["name"], secrets: ["name"] },
  "v1.ServiceSpec": { ports: ["port", "protocol"] },
  "v1.ServiceStatus": CONDITIONS,
  "v1.CustomResourceDefinitionStatus": CONDITIONS,
};

const ATOMIC_TYPES = [
  ..."LabelSelector NodeSelector NodeSelectorTerm ObjectReference ObjectFieldSelector".split(" "),
  ..."ResourceFieldSelector SecretKeySelector ConfigMapKeySelector LocalObjectReference".split(" "),
  ..."TypedLocalObjectReference TypedObjectReference OwnerReference".split(" "),
].map((name) => `v1.${name}`);

const CONTAINER_DEFAULTS = {
  resources: {},
  terminationMessagePath: "/dev/termination-log",
  terminationMessagePolicy: "File",
};
const FILE_MODE = { defaultMode: 420 };

const DEFAULTS: Record<string, Fields> = {
  "v1.PodSpec": {
    restartPolicy: "Always",
    terminationGracePeriodSeconds: 30,
    dnsPolicy: "ClusterFirst",
    schedulerName: "default-scheduler",
    securityContext: {},
    enableServiceLinks: true,
  },
  "v1.Container": CONTAINER_DEFAULTS,
  "v1.EphemeralContainer": CONTAINER_DEFAULTS,
  "v1.ContainerPort": { protocol: "TCP" },
  "v1.Probe": { timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 },
  "v1.HTTPGetAction": { path: "/", scheme: "HTTP" },
  "v1.ObjectFieldSelector": { apiVersion: "v1" },
  "v1.SecretVolumeSource": FILE_MODE,
  "v1.ConfigMapVolumeSource": FILE_MODE,
  "v1.DownwardAPIVolumeSource": FILE_MODE,
  "v1.ProjectedVolumeSource": FILE_MODE,
  "v1.ServiceAccountTokenProjection": { expirationSeconds: 3600 },
  "v1.PersistentVolumeClaimSpec": { volumeMode: "Filesystem" },
  "v1.Secret": { type: "Opaque" },
  "v1.ServicePort": { protocol: "TCP" },
  "v1.ServiceSpec": { type: "ClusterIP", sessionAffinity: "None" },
  "v1.StorageClass": { reclaimPolicy: "Delete", volumeBindingMode: "Immediate" },
};

function annotated(): Record<string, Schema & { $ref?: string }> {
  const all = structuredClone(shapes) as unknown as Record<string, Schema>;
  for (const [name, lists] of Object.entries(LIST_KEYS)) {
    for (const [field, keys] of Object.entries(lists)) {
      const list = all[name]?.properties?.[field];
      if (!list) continue;
      list["x-kubernetes-list-type"] = keys.length > 0 ? "map" : "set";
      if (keys.length > 0) list["x-kubernetes-list-map-keys"] = keys;
    }
  }
  for (const name of ATOMIC_TYPES) {
    const schema = all[name];
    if (schema) schema["x-kubernetes-map-type"] = "atomic";
  }
  return all;
}

/** The schemas by name, with references (`{$ref: "v1.PodSpec"}`), for OpenAPI. */
export const coreDefinitions = annotated();

const resolved = new Map<string, Schema>();

/** One built-in type with references replaced by the schemas themselves, and defaults filled in. */
export function coreSchema(name: string): Schema {
  const known = resolved.get(name);
  if (known) return known;
  const definition = coreDefinitions[name];
  if (!definition) throw new Error(`no built-in schema ${name}`);
  const schema: Schema = structuredClone(definition);
  resolved.set(name, schema);
  for (const [key, child] of Object.entries(schema.properties ?? {})) {
    if (schema.properties) schema.properties[key] = linked(child);
  }
  for (const [key, value] of Object.entries(DEFAULTS[name] ?? {})) {
    const member = schema.properties?.[key];
    // A copy: the member may be a schema that others share.
    if (member && schema.properties) schema.properties[key] = { ...member, default: value };
  }
  return schema;
}

function linked(node: Schema & { $ref?: string }): Schema {
  if (node.$ref) return coreSchema(node.$ref);
  if (node.items) return { ...node, items: linked(node.items) };
  if (isFields(node.additionalProperties)) {
    return { ...node, additionalProperties: linked(node.additionalProperties) };
  }
  return node;
}
