import { coreColumns } from "./core-columns.ts";
import { RULES } from "./core-rules.ts";
import { coreSchema } from "./core-schema.ts";
import type { StoredObject } from "./object.ts";
import type { ResourceType } from "./resource-type.ts";

interface Row {
  kind: string;
  plural: string;
  group?: string;
  short?: string[];
  cluster?: boolean;
  status?: boolean;
  generation?: boolean;
  all?: boolean;
  schemaName?: string;
}

const ROWS: Row[] = [
  { kind: "Pod", plural: "pods", short: ["po"], status: true, generation: true, all: true },
  { kind: "PersistentVolumeClaim", plural: "persistentvolumeclaims", short: ["pvc"], status: true },
  { kind: "Secret", plural: "secrets" },
  { kind: "ConfigMap", plural: "configmaps", short: ["cm"] },
  { kind: "Event", plural: "events", short: ["ev"] },
  { kind: "ServiceAccount", plural: "serviceaccounts", short: ["sa"] },
  { kind: "Namespace", plural: "namespaces", short: ["ns"], cluster: true, status: true },
  { kind: "Node", plural: "nodes", short: ["no"], cluster: true, status: true },
  { kind: "Service", plural: "services", short: ["svc"], status: true, all: true },
  { kind: "Lease", plural: "leases", group: "coordination.k8s.io" },
  {
    kind: "Event",
    plural: "events",
    group: "events.k8s.io",
    short: ["ev"],
    schemaName: "events.v1.Event",
  },
  {
    kind: "NetworkPolicy",
    plural: "networkpolicies",
    group: "networking.k8s.io",
    short: ["netpol"],
    generation: true,
  },
  {
    kind: "StorageClass",
    plural: "storageclasses",
    group: "storage.k8s.io",
    short: ["sc"],
    cluster: true,
  },
  {
    kind: "CustomResourceDefinition",
    plural: "customresourcedefinitions",
    group: "apiextensions.k8s.io",
    short: ["crd", "crds"],
    cluster: true,
    status: true,
    generation: true,
  },
];

function typeOf(row: Row): ResourceType {
  const { kind, plural, group = "", schemaName = `v1.${kind}` } = row;
  const isEvent = plural === "events";
  return {
    group,
    version: "v1",
    kind,
    plural,
    singular: kind.toLowerCase(),
    namespaced: !row.cluster,
    shortNames: row.short ?? [],
    categories: row.all ? ["all"] : [],
    hasStatus: row.status ?? false,
    hasGeneration: row.generation ?? false,
    custom: false,
    schema: coreSchema(schemaName),
    schemaName,
    columns: coreColumns(plural),
    storage: isEvent ? "/events" : `${group}/${plural}`,
    rules: RULES[plural] ?? {},
    ...(group === "events.k8s.io" && { fromStored: toNewEvent, toStored: toCoreEvent }),
  };
}

/** events.k8s.io name ↔ core name; every other field is called the same. */
const EVENT_FIELDS: [string, string][] = [
  ["regarding", "involvedObject"],
  ["note", "message"],
  ["reportingController", "reportingComponent"],
  ["deprecatedSource", "source"],
  ["deprecatedFirstTimestamp", "firstTimestamp"],
  ["deprecatedLastTimestamp", "lastTimestamp"],
  ["deprecatedCount", "count"],
];

function renamed(object: StoredObject, apiVersion: string, names: Map<string, string>) {
  const entries = Object.entries(object).map(([key, value]) => [names.get(key) ?? key, value]);
  return { ...(Object.fromEntries(entries) as StoredObject), apiVersion };
}

const toCore = new Map(EVENT_FIELDS);
const fromCore = new Map(EVENT_FIELDS.map(([newer, core]) => [core, newer]));
const toCoreEvent = (event: StoredObject) => renamed(event, "v1", toCore);
const toNewEvent = (event: StoredObject) => renamed(event, "events.k8s.io/v1", fromCore);

export const CORE_TYPES: ResourceType[] = ROWS.map(typeOf);
