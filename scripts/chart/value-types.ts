import { z } from "zod";

/** Building blocks of the chart's values: each is closed, so that a misspelt key is an error. */

export const text = (description: string, fallback = "") =>
  z.string().max(1024).default(fallback).meta({ description });

export const flag = (description: string, fallback: boolean) =>
  z.boolean().default(fallback).meta({ description });

export const count = (
  description: string,
  { least, most, fallback }: { least: number; most: number; fallback: number },
) => z.int().min(least).max(most).default(fallback).meta({ description });

/** A DNS label that names an object, or empty. */
export const objectName = (description: string) =>
  z
    .string()
    .max(253)
    .regex(/^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$/)
    .default("")
    .meta({ description });

export const secretEntry = (fallback: string) =>
  z
    .string()
    .regex(/^[-._a-zA-Z0-9]{1,253}$/)
    .default(fallback)
    .meta({ description: "Entry of that Secret" });

export const quantity = () => z.string().regex(/^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$/);

export const stringMap = (description: string) =>
  z.record(z.string(), z.string()).default({}).meta({ description });

/** Passed through to Kubernetes, which checks it. */
export const freeList = (description: string) =>
  z.array(z.looseObject({})).default([]).meta({ description });
export const freeMap = (description: string) => z.looseObject({}).default({}).meta({ description });

export const logLevel = () =>
  z
    .enum(["trace", "debug", "info", "warn", "error", "fatal"])
    .default("info")
    .meta({ description: "How much is logged (JSON lines on stderr)" });

export const image = (what: string, repository: string) =>
  z
    .strictObject({
      repository: z
        .string()
        .max(512)
        .regex(/^[a-z0-9]([a-z0-9._/:-]*[a-z0-9])?$/)
        .default(repository)
        .meta({ description: `Image of ${what}, without tag` }),
      tag: z
        .string()
        .regex(/^([A-Za-z0-9_][A-Za-z0-9._-]{0,127})?$/)
        .default("")
        .meta({ description: "Tag; the chart's appVersion when empty" }),
      digest: z
        .string()
        .regex(/^(sha256:[0-9a-f]{64})?$/)
        .default("")
        .meta({ description: "sha256:…; wins over the tag" }),
    })
    .prefault({});

interface Size {
  cpu: string;
  memory: string;
  "ephemeral-storage": string;
}

/** Requests and limits, both always set. */
export const resources = (requests: Size, limits: Size) => {
  const size = (fallback: Size) =>
    z
      .strictObject({
        cpu: quantity().default(fallback.cpu),
        memory: quantity().default(fallback.memory),
        "ephemeral-storage": quantity().default(fallback["ephemeral-storage"]),
      })
      .prefault({});
  return z
    .strictObject({ requests: size(requests), limits: size(limits) })
    .prefault({})
    .meta({ description: "Requests and limits of the container" });
};

/** Where pods of the control plane run. */
export const placement = {
  nodeSelector: stringMap("Labels that the node must have"),
  tolerations: freeList("Taints that the pod tolerates"),
  affinity: freeMap("Affinity of the pod; replaces the chart's own preference for different nodes"),
  priorityClassName: objectName("Priority class of the pod"),
  podAnnotations: stringMap("Annotations of the pod"),
};

export const httpUrl = () => z.string().regex(/^https?:\/\/[^\s]+$/);
