import type { z } from "zod";
import type { ArgusCronSpec as CronSpec, ArgusCronStatus as CronStatus } from "./argus-cron.ts";
import { ArgusCronSpec, ArgusCronStatus } from "./argus-cron.ts";
import {
  ArgusSessionSpec,
  ArgusSessionStatus,
  type ArgusSessionSpec as SessionSpec,
  type ArgusSessionStatus as SessionStatus,
} from "./argus-session.ts";
import { CRON_WORDS, described, SESSION_WORDS } from "./field-words.ts";
import { structuralSchema } from "./structural.ts";

export const GROUP = "argus.dev";
export const VERSION = "v1alpha1";
export const API_VERSION = `${GROUP}/${VERSION}`;

/** The part of metadata that Argus reads and writes. */
export interface ObjectMeta {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  finalizers?: string[];
  ownerReferences?: OwnerReference[];
  managedFields?: unknown[];
}

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

export interface ArgusSession {
  apiVersion: typeof API_VERSION;
  kind: "ArgusSession";
  metadata: ObjectMeta;
  spec: SessionSpec;
  status?: SessionStatus;
}

export interface ArgusCron {
  apiVersion: typeof API_VERSION;
  kind: "ArgusCron";
  metadata: ObjectMeta;
  spec: CronSpec;
  status?: CronStatus;
}

interface PrinterColumn {
  name: string;
  type: "string" | "date" | "integer" | "boolean";
  jsonPath: string;
  priority?: number;
  description?: string;
}

export interface Kind {
  kind: string;
  plural: string;
  singular: string;
  shortNames: string[];
  categories: string[];
  spec: z.ZodType;
  status: z.ZodType;
  /** Meanings of fields of the spec. */
  words: Record<string, string>;
  columns: PrinterColumn[];
}

const condition = (type: string, field: string) =>
  `.status.conditions[?(@.type=="${type}")].${field}`;
const age: PrinterColumn = { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" };

export const KINDS: Kind[] = [
  {
    kind: "ArgusSession",
    plural: "argussessions",
    singular: "argussession",
    shortNames: ["asess"],
    categories: ["all", "argus"],
    spec: ArgusSessionSpec,
    status: ArgusSessionStatus,
    words: SESSION_WORDS,
    columns: [
      { name: "Ready", type: "string", jsonPath: condition("Ready", "status") },
      { name: "Reason", type: "string", jsonPath: condition("Ready", "reason") },
      { name: "Mode", type: "string", jsonPath: ".spec.operatingMode" },
      { name: "Idle", type: "date", jsonPath: ".status.activity.since" },
      age,
      { name: "Pod", type: "string", jsonPath: ".status.podName", priority: 1 },
      { name: "Node", type: "string", jsonPath: ".status.nodeName", priority: 1 },
      {
        name: "Last-Termination",
        type: "string",
        jsonPath: ".status.lastTermination.reason",
        priority: 1,
      },
    ],
  },
  {
    kind: "ArgusCron",
    plural: "arguscrons",
    singular: "arguscron",
    shortNames: ["acron"],
    categories: ["all", "argus"],
    spec: ArgusCronSpec,
    status: ArgusCronStatus,
    words: CRON_WORDS,
    columns: [
      { name: "Schedule", type: "string", jsonPath: ".spec.schedule" },
      { name: "TimeZone", type: "string", jsonPath: ".spec.timeZone" },
      { name: "Suspend", type: "boolean", jsonPath: ".spec.suspend" },
      { name: "Last", type: "date", jsonPath: ".status.lastScheduleTime" },
      { name: "Next", type: "string", jsonPath: ".status.nextScheduleTime" },
      { name: "State", type: "string", jsonPath: ".status.lastRun.state" },
      age,
    ],
  },
];

/** The schema of a kind's spec, every field with its meaning. */
export function specSchema({ spec, words }: Kind): Record<string, unknown> {
  return described(structuralSchema(spec), words);
}

/** The CustomResourceDefinition of one kind, ready for the API server. */
export function customResourceDefinition(kind: Kind): Record<string, unknown> {
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${kind.plural}.${GROUP}` },
    spec: {
      group: GROUP,
      scope: "Namespaced",
      names: {
        kind: kind.kind,
        listKind: `${kind.kind}List`,
        plural: kind.plural,
        singular: kind.singular,
        shortNames: kind.shortNames,
        categories: kind.categories,
      },
      versions: [
        {
          name: VERSION,
          served: true,
          storage: true,
          subresources: { status: {} },
          additionalPrinterColumns: kind.columns,
          schema: {
            openAPIV3Schema: {
              type: "object",
              required: ["spec"],
              properties: {
                apiVersion: { type: "string" },
                kind: { type: "string" },
                metadata: { type: "object" },
                spec: specSchema(kind),
                status: structuralSchema(kind.status),
              },
            },
          },
        },
      ],
    },
  };
}

/** All CRDs of Argus. */
export function customResourceDefinitions(): Record<string, unknown>[] {
  return KINDS.map(customResourceDefinition);
}
