import { type Fields, isFields } from "./object.ts";

export interface CelRule {
  rule: string;
  message?: string;
  messageExpression?: string;
  fieldPath?: string;
  reason?: string;
}

/** A structural schema (apiextensions/v1 JSONSchemaProps, without combinators and references). */
export interface Schema {
  type?: string;
  format?: string;
  properties?: Record<string, Schema>;
  additionalProperties?: Schema | boolean;
  items?: Schema;
  required?: string[];
  enum?: unknown[];
  default?: unknown;
  nullable?: boolean;
  pattern?: string;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: boolean;
  exclusiveMaximum?: boolean;
  multipleOf?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  minProperties?: number;
  maxProperties?: number;
  description?: string;
  "x-kubernetes-preserve-unknown-fields"?: boolean;
  "x-kubernetes-embedded-resource"?: boolean;
  "x-kubernetes-int-or-string"?: boolean;
  "x-kubernetes-list-type"?: string;
  "x-kubernetes-list-map-keys"?: string[];
  "x-kubernetes-map-type"?: string;
  "x-kubernetes-validations"?: CelRule[];
}

const OPEN: Schema = { "x-kubernetes-preserve-unknown-fields": true };

/** The schema of one member of an object; undefined when the schema does not know it and does not keep it. */
export function memberSchema(schema: Schema, key: string): Schema | undefined {
  const { properties, additionalProperties: extra } = schema;
  if (properties && Object.hasOwn(properties, key)) return properties[key];
  if (extra) return extra === true ? OPEN : extra;
  return schema["x-kubernetes-preserve-unknown-fields"] || !schema.type ? OPEN : undefined;
}

/** `spec.containers[0].name`; the root is "". */
export const joined = (path: string, key: string) => (path ? `${path}.${key}` : key);

/** Removes what the schema does not know, in place, and answers the paths of what it removed. */
export function prune(value: unknown, schema: Schema, path = ""): string[] {
  if (Array.isArray(value)) {
    return value.flatMap((item, index) => prune(item, schema.items ?? OPEN, `${path}[${index}]`));
  }
  if (!isFields(value)) return [];
  return Object.keys(value).flatMap((key) => {
    const member = memberSchema(schema, key);
    if (member) return prune(value[key], member, joined(path, key));
    delete value[key];
    return [joined(path, key)];
  });
}

/** Fills in defaults, in place; null counts as absent where it is not allowed. */
export function applyDefaults(value: unknown, schema: Schema): void {
  if (Array.isArray(value)) {
    for (const item of value) applyDefaults(item, schema.items ?? OPEN);
    return;
  }
  if (!isFields(value)) return;
  for (const [key, member] of Object.entries(schema.properties ?? {})) {
    if (member.default !== undefined && isAbsent(value[key], member)) {
      value[key] = structuredClone(member.default);
    }
  }
  for (const [key, child] of Object.entries(value)) {
    applyDefaults(child, memberSchema(schema, key) ?? OPEN);
  }
}

const isAbsent = (value: unknown, { nullable }: Schema) =>
  value === undefined || (value === null && !nullable);

/** Removes members that are null, in place, as decoding into a typed object does. */
export function dropNulls(value: unknown): void {
  if (Array.isArray(value)) for (const item of value) dropNulls(item);
  if (!isFields(value)) return;
  for (const [key, child] of Object.entries(value)) {
    if (child === null) delete value[key];
    else dropNulls(child);
  }
}

/** How a value is owned and merged: member by member, item by item, or as a whole. */
export type Shape = "map" | "keyed" | "set" | "leaf";

export function shapeOf(value: unknown, schema: Schema): Shape {
  if (isFields(value)) return schema["x-kubernetes-map-type"] === "atomic" ? "leaf" : "map";
  if (!Array.isArray(value)) return "leaf";
  if (schema["x-kubernetes-list-type"] === "map") return "keyed";
  return schema["x-kubernetes-list-type"] === "set" ? "set" : "leaf";
}

/** The key fields of a list-map's item, with defaults, sorted by name: `{"containerPort":80,"protocol":"TCP"}`. */
export function itemKey(item: unknown, schema: Schema): Fields {
  const keys = (schema["x-kubernetes-list-map-keys"] ?? []).toSorted();
  const fields = isFields(item) ? item : {};
  return Object.fromEntries(
    keys.flatMap((key) => {
      const value = fields[key] ?? schema.items?.properties?.[key]?.default;
      return value === undefined ? [] : [[key, value]];
    }),
  );
}

/** What makes an item of a list the same item as before, as text. */
export function identityOf(item: unknown, schema: Schema): string {
  const type = schema["x-kubernetes-list-type"];
  return JSON.stringify(type === "map" ? itemKey(item, schema) : item);
}

/** The former items by identity; only those of a list-map have a life of their own. */
export function oldItems(old: unknown, schema: Schema): Map<string, unknown> {
  if (schema["x-kubernetes-list-type"] !== "map" || !Array.isArray(old)) return new Map();
  return new Map(old.map((item) => [identityOf(item, schema), item]));
}
