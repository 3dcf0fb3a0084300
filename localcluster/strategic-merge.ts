import { isDeepStrictEqual } from "node:util";
import { type Fields, isFields } from "./object.ts";
import { memberSchema, type Schema } from "./schema.ts";
import { badRequest } from "./status.ts";

/**
 * Strategic merge patch: as a JSON merge patch, but list-maps merge by their first key and sets by value.
 * Knows `$patch: delete|replace|merge`, `$deleteFromPrimitiveList`, `$retainKeys` and `$setElementOrder`.
 */
export function strategicMerge(target: unknown, patch: unknown, schema: Schema): unknown {
  if (!isFields(patch)) return patch;
  if (patch.$patch === "replace") return withoutDirectives(patch);
  if (patch.$patch === "delete") return {};
  const result: Fields = isFields(target) ? { ...target } : {};
  retainKeys(result, patch);
  for (const [key, value] of Object.entries(patch)) {
    if (!key.startsWith("$")) mergeMember(result, key, value, schema);
  }
  for (const [key, value] of Object.entries(patch)) directive(result, key, value, schema);
  return result;
}

const withoutDirectives = (patch: Fields): Fields =>
  Object.fromEntries(Object.entries(patch).filter(([key]) => !key.startsWith("$")));

function mergeMember(result: Fields, key: string, value: unknown, schema: Schema): void {
  const member = memberSchema(schema, key) ?? {};
  if (value === null) delete result[key];
  else if (Array.isArray(value)) result[key] = mergeList(result[key], value, member);
  else if (isFields(value) && member["x-kubernetes-map-type"] === "atomic") result[key] = value;
  else result[key] = strategicMerge(result[key], value, member);
}

const mergeKey = (schema: Schema) => schema["x-kubernetes-list-map-keys"]?.[0];

function mergeList(target: unknown, patch: unknown[], schema: Schema): unknown[] {
  const type = schema["x-kubernetes-list-type"];
  const replace = patch.some((item) => isFields(item) && item.$patch === "replace");
  const items = patch.filter((item) => !isFields(item) || item.$patch !== "replace");
  if (replace || !Array.isArray(target) || (type !== "map" && type !== "set")) {
    return items.filter((item) => !isFields(item) || item.$patch !== "delete").map(plain);
  }
  if (type === "set") {
    return [
      ...target,
      ...items.filter((item) => !target.some((each) => isDeepStrictEqual(each, item))),
    ];
  }
  return items.reduce<unknown[]>((list, item) => mergeItem(list, item, schema), target);
}

const plain = (item: unknown) => (isFields(item) ? withoutDirectives(item) : item);

function mergeItem(list: unknown[], item: unknown, schema: Schema): unknown[] {
  const key = mergeKey(schema) ?? "";
  if (!isFields(item) || item[key] === undefined) {
    throw badRequest(`map: ${JSON.stringify(item)} does not contain declared merge key: ${key}`);
  }
  const index = list.findIndex((each) => isFields(each) && isDeepStrictEqual(each[key], item[key]));
  if (item.$patch === "delete") return list.filter((_, at) => at !== index);
  if (index < 0) return [...list, strategicMerge({}, item, schema.items ?? {})];
  return list.with(index, strategicMerge(list[index], item, schema.items ?? {}));
}

function retainKeys(result: Fields, patch: Fields): void {
  if (!Array.isArray(patch.$retainKeys)) return;
  for (const key of Object.keys(result)) if (!patch.$retainKeys.includes(key)) delete result[key];
}

function directive(result: Fields, key: string, value: unknown, schema: Schema): void {
  const [name, member = ""] = key.split("/", 2);
  const list = result[member];
  if (!Array.isArray(list) || !Array.isArray(value)) return;
  if (name === "$deleteFromPrimitiveList") {
    result[member] = list.filter((item) => !value.some((gone) => isDeepStrictEqual(gone, item)));
  }
  if (name === "$setElementOrder") {
    const key = mergeKey(memberSchema(schema, member) ?? {});
    result[member] = ordered(list, value, key);
  }
}

/** The items named in `order` come in that order; the others keep their places after them. */
function ordered(list: unknown[], order: unknown[], key: string | undefined): unknown[] {
  const identity = (item: unknown) => JSON.stringify(key && isFields(item) ? item[key] : item);
  const ranks = new Map(order.map((item, rank) => [identity(item), rank]));
  const rank = (item: unknown) => ranks.get(identity(item)) ?? order.length;
  return list.toSorted((a, b) => rank(a) - rank(b));
}
