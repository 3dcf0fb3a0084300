import type { ObjectMeta } from "#crds/kinds.ts";

/** A JSON object of any shape. */
export type Fields = Record<string, unknown>;

export type Metadata = ObjectMeta & {
  generateName?: string;
  deletionGracePeriodSeconds?: number;
};

/** A Kubernetes object as it is stored and served. Never changed in place once stored. */
export type StoredObject = Fields & {
  apiVersion: string;
  kind: string;
  metadata: Metadata;
};

export function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `value` when it is an object, else an empty one. */
export function fieldsOf(value: unknown): Fields {
  return isFields(value) ? value : {};
}

/** The value under a path of keys; undefined when any step is missing. */
export function at(value: unknown, ...path: string[]): unknown {
  let current = value;
  for (const key of path) {
    current = isFields(current) && Object.hasOwn(current, key) ? current[key] : undefined;
  }
  return current;
}

/** A string, number or boolean as text; "" for everything else. */
export function textOf(value: unknown): string {
  return ["string", "number", "boolean"].includes(typeof value) ? String(value) : "";
}

/** `namespace/name`, or `/name` for cluster-scoped objects. */
export function keyOf({ namespace = "", name }: { namespace?: string; name: string }): string {
  return `${namespace}/${name}`;
}

/** RFC 3339 in whole seconds, as Kubernetes writes times. */
export function timestamp(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}
