import { isDeepStrictEqual } from "node:util";
import {
  compare,
  elementsOf,
  type FieldSet,
  fieldSetOf,
  fromFieldsV1,
  merge,
  pathText,
  removePaths,
  toFieldsV1,
  withParents,
} from "./field-set.ts";
import { at, isFields, type StoredObject, textOf } from "./object.ts";
import type { Schema } from "./schema.ts";
import { ApiError } from "./status.ts";

/** Who writes, and how. */
export interface Writer {
  manager: string;
  apiVersion: string;
  subresource: string;
  /** RFC 3339 */
  time: string;
}

interface Owner {
  manager: string;
  operation: "Apply" | "Update";
  apiVersion: string;
  subresource: string;
  time: string;
  fields: FieldSet;
}

/** More update managers than this are folded into one. */
const MAX_UPDATE_MANAGERS = 10;
const SYSTEM_METADATA = new Set(
  "name namespace creationTimestamp selfLink uid generation managedFields resourceVersion deletionTimestamp deletionGracePeriodSeconds"
    .split(" ")
    .map((key) => `f:${key}`),
);

/** Whether a write through this subresource may own the path at all. */
function isOwnable(path: string, subresource: string, hasStatus: boolean): boolean {
  const [first = "", second = ""] = elementsOf(path);
  if (["", "f:apiVersion", "f:kind"].includes(first)) return false;
  if (!second && ["f:metadata", "f:spec", "f:status"].includes(first)) return false;
  if (first === "f:metadata" && SYSTEM_METADATA.has(second)) return false;
  if (subresource === "status") return first === "f:status";
  return !hasStatus || first !== "f:status";
}

const only = (set: FieldSet, keep: (path: string) => boolean) => new Set([...set].filter(keep));

const ownable = (set: FieldSet, writer: Writer, schema: Schema) => {
  const hasStatus = Boolean(schema.properties?.status);
  return only(set, (path) => isOwnable(path, writer.subresource, hasStatus));
};

export function decodeOwners(object: StoredObject | undefined): Owner[] {
  const entries = object?.metadata.managedFields ?? [];
  return entries.filter(isFields).flatMap((entry) => {
    const { manager, operation, apiVersion, subresource, time, fieldsV1 } = entry;
    if (operation !== "Apply" && operation !== "Update") return [];
    return {
      manager: textOf(manager),
      operation,
      apiVersion: textOf(apiVersion),
      subresource: textOf(subresource),
      time: textOf(time),
      fields: fromFieldsV1(fieldsV1),
    };
  });
}

function encodeOwners(owners: Owner[]): unknown[] {
  return owners
    .filter(({ fields }) => fields.size > 0)
    .map(({ manager, operation, apiVersion, subresource, time, fields }) => ({
      manager,
      operation,
      apiVersion,
      time,
      fieldsType: "FieldsV1",
      fieldsV1: toFieldsV1(fields),
      ...(subresource && { subresource }),
    }));
}

const isBy = (owner: Owner, writer: Writer, operation: Owner["operation"]) =>
  owner.operation === operation &&
  owner.manager === writer.manager &&
  owner.subresource === writer.subresource;

export interface Apply {
  live: StoredObject | undefined;
  /** The complete intent, stripped of what this subresource does not write. */
  config: StoredObject;
  schema: Schema;
  writer: Writer;
  force: boolean;
}

/**
 * Server-side apply: the merged object with its new `managedFields`. Fields that the manager applied before and
 * now leaves out are removed unless somebody else owns them. Throws 409 naming managers and fields unless forced.
 */
export function applyIntent({ live, config, schema, writer, force }: Apply): StoredObject {
  const owners = decodeOwners(live);
  const mine = owners.find((owner) => isBy(owner, writer, "Apply"));
  const others = owners.filter((owner) => owner !== mine);
  const wanted = fieldSetOf(config, schema);
  const fields = ownable(wanted, writer, schema);
  const merged = merge(live, config, schema);
  // Not only what can be owned: an empty spec that is asked for stays.
  const kept = withParents(union([wanted, ...others.map((owner) => owner.fields)]));
  const doomed = only(mine?.fields ?? new Set(), (path) => !fields.has(path));
  const object = removePaths(merged, schema, { doomed, kept }) as StoredObject;
  const { added, modified, removed } = compare(live ?? {}, object, schema);
  const changed = union([added, modified]);
  const conflicts = others
    .map((owner) => ({ owner, paths: [...owner.fields].filter((path) => changed.has(path)) }))
    .filter(({ paths }) => paths.length > 0);
  const refused = force ? [] : beyond(conflicts, formerlyApplied(live, schema, writer));
  if (refused.length > 0) throw conflictError(refused);
  const lost = union([removed, ...conflicts.map(({ paths }) => new Set(paths))]);
  const entry: Owner = { ...writer, operation: "Apply", fields };
  const rest = others.map((owner) => without(owner, lost));
  return withOwners(object, [...rest, keepTime(entry, mine, changed.size + removed.size)]);
}

interface ConflictWith {
  owner: Owner;
  paths: string[];
}

const beyond = (conflicts: ConflictWith[], allowed: FieldSet): ConflictWith[] =>
  conflicts
    .map(({ owner, paths }) => ({ owner, paths: paths.filter((path) => !allowed.has(path)) }))
    .filter(({ paths }) => paths.length > 0);

const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";

/** What kubectl itself applied client-side before: it may take that over server-side without a conflict. */
function formerlyApplied(live: StoredObject | undefined, schema: Schema, writer: Writer): FieldSet {
  const text = live?.metadata.annotations?.[LAST_APPLIED];
  if (writer.manager !== "kubectl" || !text) return new Set();
  try {
    return fieldSetOf(JSON.parse(text), schema);
  } catch {
    // Anybody may write the annotation; what is no JSON allows nothing.
    return new Set();
  }
}

const union = (sets: FieldSet[]) => new Set(sets.flatMap((set) => [...set]));
const without = (owner: Owner, lost: FieldSet): Owner => ({
  ...owner,
  fields: only(owner.fields, (path) => !lost.has(path)),
});

/** An entry that changes nothing keeps its time, so that a repeated write is no write. */
function keepTime(entry: Owner, old: Owner | undefined, changes: number): Owner {
  const same = old && changes === 0 && isDeepStrictEqual(old.fields, entry.fields);
  return same ? { ...entry, time: old.time } : entry;
}

function withOwners(object: StoredObject, owners: Owner[]): StoredObject {
  const managedFields = encodeOwners(owners);
  const { managedFields: _, ...metadata } = object.metadata;
  return {
    ...object,
    metadata: { ...metadata, ...(managedFields.length > 0 && { managedFields }) },
  };
}

export interface Update {
  live: StoredObject | undefined;
  next: StoredObject;
  schema: Schema;
  writer: Writer;
}

/** `next` with `managedFields` after a create, replace or patch: the writer owns what it changed, the others lose it. */
export function recordUpdate({ live, next, schema, writer }: Update): StoredObject {
  const given = decodeOwners(next);
  const owners = given.length > 0 || isReset(next) ? given : decodeOwners(live);
  const { added, modified, removed } = compare(live ?? {}, next, schema);
  const changed = ownable(union([added, modified]), writer, schema);
  if (changed.size === 0 && removed.size === 0) return withOwners(next, owners);
  const mine = owners.find((owner) => isBy(owner, writer, "Update"));
  const kept = only(mine?.fields ?? new Set(), (path) => !removed.has(path));
  const entry: Owner = { ...writer, operation: "Update", fields: union([kept, changed]) };
  const lost = union([changed, removed]);
  const others = owners.filter((owner) => owner !== mine).map((owner) => without(owner, lost));
  return withOwners(next, bounded([...others, keepTime(entry, mine, changed.size)]));
}

/** `managedFields: [{}]` asks to forget all owners. */
const isReset = (object: StoredObject) =>
  object.metadata.managedFields?.length === 1 &&
  at(object.metadata.managedFields[0], "operation") === undefined;

function bounded(owners: Owner[]): Owner[] {
  const updates = owners.filter(({ operation }) => operation === "Update");
  const [first, second] = updates;
  if (updates.length <= MAX_UPDATE_MANAGERS || !first || !second) return owners;
  const folded: Owner = {
    ...second,
    manager: "ancient-changes",
    fields: union([first.fields, second.fields]),
  };
  return bounded([folded, ...owners.filter((owner) => owner !== first && owner !== second)]);
}

function conflictError(conflicts: ConflictWith[]): ApiError {
  const causes = conflicts.flatMap(({ owner, paths }) =>
    paths.map((path) => ({
      reason: "FieldManagerConflict",
      message: `conflict with ${ownerText(owner)}`,
      field: pathText(path),
    })),
  );
  const lines = conflicts.map(({ owner, paths }) => {
    const [first = ""] = paths;
    if (paths.length === 1) return `conflict with ${ownerText(owner)}: ${pathText(first)}`;
    return `conflicts with ${ownerText(owner)}:\n${paths.map((path) => `- ${pathText(path)}`).join("\n")}`;
  });
  const count = `${causes.length} conflict${causes.length === 1 ? "" : "s"}`;
  return new ApiError(409, "Conflict", `Apply failed with ${count}: ${lines.join("\n")}`, {
    causes,
  });
}

/** An applier is its name alone; the same name may update through several versions. */
const ownerText = ({ manager, subresource, apiVersion, operation }: Owner) =>
  `"${manager}"${subresource ? ` with subresource "${subresource}"` : ""}${operation === "Update" ? ` using ${apiVersion}` : ""}`;
