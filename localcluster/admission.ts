import { isDeepStrictEqual } from "node:util";
import { type StoredObject, timestamp } from "./object.ts";
import { apiVersionOf, type ResourceType } from "./resource-type.ts";
import { applyDefaults, dropNulls, prune } from "./schema.ts";
import {
  ApiError,
  badRequest,
  type FieldError,
  forbiddenField,
  invalid,
  invalidValue,
  modified,
  required,
} from "./status.ts";
import { validate } from "./validate.ts";

/** What a write request says besides its body. */
export interface WriteOptions {
  dryRun: boolean;
  manager: string;
  force: boolean;
  fieldValidation: "Strict" | "Warn" | "Ignore";
  /** Sentences for the answer's Warning headers; filled in by the write. */
  warnings: string[];
}

/** Which object, through which resource. */
export interface WriteTarget {
  type: ResourceType;
  namespace: string | undefined;
  name: string;
  /** "" or "status" */
  subresource: string;
}

/** The unknown fields of a body are removed, and told, refused or ignored as the request asks. */
export function pruneUnknown(
  object: StoredObject,
  type: ResourceType,
  { fieldValidation, warnings }: WriteOptions,
  refuse: (detail: string) => ApiError = (detail) => cannotHandle(type, detail),
): void {
  const unknown = prune(object, type.schema);
  if (unknown.length === 0 || fieldValidation === "Ignore") return;
  const found = unknown.map((field) => `unknown field "${field}"`);
  if (fieldValidation === "Strict") throw refuse(`strict decoding error: ${found.join(", ")}`);
  warnings.push(...found);
}

const cannotHandle = ({ kind, version }: ResourceType, detail: string) =>
  badRequest(`${kind} in version "${version}" cannot be handled as a ${kind}: ${detail}`);

/** 400 unless the body is this kind, in this version, under this name and namespace. */
export function checkIdentity(object: StoredObject, { type, namespace, name }: WriteTarget): void {
  const expected = apiVersionOf(type);
  if (object.apiVersion !== expected) {
    const [given, wanted] = [object.apiVersion, expected];
    throw badRequest(
      `the API version in the data (${given}) does not match the expected API version (${wanted})`,
    );
  }
  if (object.kind !== type.kind) {
    throw badRequest(
      `${object.kind} in version "${type.version}" cannot be handled as a ${type.kind}: no kind "${object.kind}" is registered for this path`,
    );
  }
  const { metadata } = object;
  if (type.namespaced) metadata.namespace ??= namespace ?? "";
  else delete metadata.namespace;
  if (type.namespaced && metadata.namespace !== namespace) {
    throw badRequest(
      "the namespace of the provided object does not match the namespace sent on the request",
    );
  }
  if (name && metadata.name !== name) {
    throw badRequest(
      `the name of the object (${metadata.name}) does not match the name on the URL (${name})`,
    );
  }
}

/** The server's own metadata comes from what is stored, whatever the body says. */
export function keepSystemFields(
  next: StoredObject,
  current: StoredObject,
  target: WriteTarget,
): void {
  const { type, name } = target;
  const [given, stored] = [next.metadata, current.metadata];
  if (given.uid && given.uid !== stored.uid) {
    const why = `Precondition failed: UID in precondition: ${given.uid}, UID in object meta: ${stored.uid}`;
    throw new ApiError(
      409,
      "Conflict",
      `Operation cannot be fulfilled on ${type.plural} "${name}": ${why}`,
    );
  }
  if (given.resourceVersion && given.resourceVersion !== stored.resourceVersion) {
    throw modified(type, name);
  }
  const { uid, resourceVersion, creationTimestamp, generation } = stored;
  const { deletionTimestamp, deletionGracePeriodSeconds } = stored;
  next.metadata = { ...given, ...defined({ uid, resourceVersion, creationTimestamp, generation }) };
  delete next.metadata.deletionTimestamp;
  delete next.metadata.deletionGracePeriodSeconds;
  Object.assign(next.metadata, defined({ deletionTimestamp, deletionGracePeriodSeconds }));
}

const defined = (fields: object) =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));

/** A write to `/status` changes the status alone; any other write leaves the status alone. */
export function isolate(
  next: StoredObject,
  current: StoredObject,
  target: WriteTarget,
): StoredObject {
  const { type, subresource } = target;
  if (subresource === "status") {
    const { managedFields } = next.metadata;
    const metadata = { ...current.metadata, ...defined({ managedFields }) };
    const { status: _, ...rest } = current;
    return { ...rest, metadata, ...(next.status !== undefined && { status: next.status }) };
  }
  if (!type.hasStatus) return next;
  const { status: _, ...rest } = next;
  return {
    ...rest,
    metadata: next.metadata,
    ...(current.status !== undefined && { status: current.status }),
  };
}

/** Defaults, the kind's own rules, then validation: 422 with every wrong field. May change `next`. */
export function admit(
  next: StoredObject,
  current: StoredObject | undefined,
  type: ResourceType,
): void {
  if (!type.custom) dropNulls(next);
  applyDefaults(next, type.schema);
  const errors = validate(next, type.schema, current);
  const malformed = errors.filter(
    ({ reason }) => !type.custom && reason === "FieldValueTypeInvalid",
  );
  if (malformed[0]) {
    const { field, message } = malformed[0];
    throw cannotHandle(type, `json: cannot unmarshal field ${field}: ${message}`);
  }
  if (errors.length === 0) type.rules.prepare?.(next, current);
  errors.push(...metadataErrors(next, current, type));
  // Rules of a kind may rely on the shape that its schema promises.
  if (errors.length === 0) errors.push(...(type.rules.validate?.(next, current) ?? []));
  if (errors.length > 0) throw invalid(type, next.metadata.name ?? "", errors);
}

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const SUBDOMAIN_HINT =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_VALUE = /^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/;
const MAX_NAME = 253;
const MAX_LABEL = 63;
const MAX_ANNOTATION_BYTES = 256 * 1024;

function metadataErrors(
  { metadata }: StoredObject,
  current: StoredObject | undefined,
  type: ResourceType,
): FieldError[] {
  const errors: FieldError[] = [];
  const { name, labels = {}, annotations = {} } = metadata;
  const single = type.plural === "namespaces";
  if (!name) errors.push(required("metadata.name", "name or generateName is required"));
  else if (!SUBDOMAIN.test(name) || name.length > (single ? MAX_LABEL : MAX_NAME)) {
    errors.push(invalidValue("metadata.name", name, SUBDOMAIN_HINT));
  }
  for (const value of Object.values(labels)) {
    if (value.length > MAX_LABEL || !LABEL_VALUE.test(value)) {
      const hint =
        "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character, at most 63 characters";
      errors.push(invalidValue("metadata.labels", value, hint));
    }
  }
  if (Buffer.byteLength(Object.values(annotations).join("")) > MAX_ANNOTATION_BYTES) {
    errors.push({
      reason: "FieldValueTooLong",
      field: "metadata.annotations",
      message: `Too long: may not be more than ${MAX_ANNOTATION_BYTES} bytes`,
    });
  }
  return [...errors, ...finalizerErrors(metadata.finalizers ?? [], current)];
}

function finalizerErrors(finalizers: string[], current: StoredObject | undefined): FieldError[] {
  if (!current?.metadata.deletionTimestamp) return [];
  const fresh = finalizers.filter((each) => !current.metadata.finalizers?.includes(each));
  if (fresh.length === 0) return [];
  const found = fresh.map((each) => JSON.stringify(each)).join(", ");
  const why = `no new finalizers can be added if the object is being deleted, found new finalizers []string{${found}}`;
  return [forbiddenField("metadata.finalizers", why)];
}

/** The generation counts changes of the intent: everything but metadata and status. */
export function bumpGeneration(
  next: StoredObject,
  current: StoredObject | undefined,
  type: ResourceType,
): void {
  if (!type.hasGeneration) return;
  const before = current?.metadata.generation ?? 0;
  const same = current && isDeepStrictEqual(intent(next, type), intent(current, type));
  next.metadata.generation = same ? before : before + 1;
}

function intent(object: StoredObject, type: ResourceType) {
  const { metadata: _metadata, status, ...rest } = object;
  return type.hasStatus ? rest : { ...rest, status };
}

const NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789";

/** Identity of a new object; the name comes from `generateName` when there is none. */
export function assignIdentity(object: StoredObject, nowMs: number): void {
  const { metadata } = object;
  if (!metadata.name && metadata.generateName) metadata.name = metadata.generateName + suffix();
  metadata.uid = crypto.randomUUID();
  metadata.creationTimestamp = timestamp(nowMs);
  delete metadata.deletionTimestamp;
  delete metadata.deletionGracePeriodSeconds;
  delete metadata.resourceVersion;
  delete metadata.generation;
}

const SUFFIX_LENGTH = 5;

const suffix = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(SUFFIX_LENGTH)), (byte) =>
    NAME_ALPHABET.charAt(byte % NAME_ALPHABET.length),
  ).join("");
