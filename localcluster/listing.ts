import { keyOf, type StoredObject } from "./object.ts";
import type { ResourceType } from "./resource-type.ts";
import { selectorOf } from "./selectors.ts";
import { ApiError, badRequest, expired, forbiddenField, invalid } from "./status.ts";
import type { ObjectStore } from "./store.ts";

export interface Listing {
  items: StoredObject[];
  metadata: { resourceVersion: string; continue?: string; remainingItemCount?: number };
}

interface Cursor {
  version: number;
  /** The last key that was answered. */
  after: string;
}

/** One page of a collection, at one version. Throws 400, 410 and 504 as Kubernetes does. */
export function listObjects(
  store: ObjectStore,
  type: ResourceType,
  namespace: string | undefined,
  query: URLSearchParams,
): Listing {
  const selects = selectorOf(query, type.plural);
  const cursor = decodeCursor(query.get("continue"));
  const version = cursor?.version ?? exactVersion(store, query);
  const source =
    version === undefined
      ? store.list(type.storage, namespace)
      : snapshot(store, { type, version, namespace });
  const all = selects ? source.filter(selects) : source;
  const rest = cursor ? all.filter(({ metadata }) => keyOf(metadata) > cursor.after) : all;
  const limit = wholeNumber(query, "limit") || rest.length;
  const items = rest.slice(0, limit).map((object) => type.fromStored?.(object) ?? object);
  const at = version ?? store.version;
  const last = items.at(-1);
  const more = rest.length > items.length && last !== undefined;
  return {
    items,
    metadata: {
      resourceVersion: String(at),
      ...(more && { continue: encodeCursor({ version: at, after: keyOf(last.metadata) }) }),
      ...(more && !selects && { remainingItemCount: rest.length - items.length }),
    },
  };
}

function snapshot(
  store: ObjectStore,
  {
    type,
    version,
    namespace,
  }: { type: ResourceType; version: number; namespace: string | undefined },
): StoredObject[] {
  try {
    return store.listAt(type.storage, version, namespace);
  } catch {
    throw expired(
      "The provided continue parameter or resourceVersion is too old to display a consistent list result. Start a new list without it.",
    );
  }
}

/** The version that a list must be served at; undefined = now, which is new enough for every other demand. */
function exactVersion(store: ObjectStore, query: URLSearchParams): number | undefined {
  const match = query.get("resourceVersionMatch");
  const version = versionOf(query);
  if (match && version === undefined) {
    throw optionError(
      "resourceVersionMatch",
      "resourceVersionMatch is forbidden unless resourceVersion is provided",
    );
  }
  if (match && match !== "Exact" && match !== "NotOlderThan") {
    throw badRequest(`invalid resourceVersionMatch ${match}: use Exact or NotOlderThan`);
  }
  if (match === "Exact" && version === 0) {
    throw optionError(
      "resourceVersionMatch",
      'resourceVersionMatch "Exact" is forbidden for resourceVersion "0"',
    );
  }
  checkNotFuture(store, version);
  return match === "Exact" ? version : undefined;
}

const optionError = (field: string, why: string) =>
  invalid({ group: "meta.k8s.io", plural: "", kind: "ListOptions" }, "", [
    forbiddenField(field, why),
  ]);

/** 504 for a version that was never given out. */
export function checkNotFuture(store: ObjectStore, version: number | undefined): void {
  if (version === undefined || version <= store.version) return;
  throw new ApiError(
    504,
    "Timeout",
    `Too large resource version: ${version}, current: ${store.version}`,
    {
      causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
      retryAfterSeconds: 1,
    },
  );
}

/** `resourceVersion` of the query; undefined when unset. Throws 400 when it is no number. */
export function versionOf(query: URLSearchParams): number | undefined {
  return query.get("resourceVersion") ? wholeNumber(query, "resourceVersion") : undefined;
}

export function wholeNumber(query: URLSearchParams, name: string): number {
  const text = query.get(name) ?? "";
  if (text && !/^\d{1,15}$/.test(text)) {
    throw badRequest(`invalid ${name} "${text}": use a whole number`);
  }
  return Number(text);
}

const encodeCursor = (cursor: Cursor) => Buffer.from(JSON.stringify(cursor)).toString("base64url");

function decodeCursor(text: string | null): Cursor | undefined {
  if (!text) return undefined;
  try {
    const { version, after } = JSON.parse(Buffer.from(text, "base64url").toString());
    if (Number.isInteger(version) && typeof after === "string") return { version, after };
  } catch {
    // Told below, like any other cursor that is not ours.
  }
  throw badRequest("continue key is not valid: start a new list without it");
}
