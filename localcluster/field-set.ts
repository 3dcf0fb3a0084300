import { isDeepStrictEqual } from "node:util";
import { type Fields, isFields } from "./object.ts";
import { itemKey, memberSchema, type Schema, type Shape, shapeOf } from "./schema.ts";

/**
 * A set of field paths, as server-side apply tracks them. A path is its elements joined by NUL:
 * `f:name` (member), `k:{"name":"a"}` (item of a list-map), `v:"x"` (item of a set).
 */
export type FieldSet = ReadonlySet<string>;

const NUL = "\u0000";
const under = (path: string, element: string) => (path ? path + NUL + element : element);

/** The steps from the root: `["f:spec", "f:replicas"]`. */
export const elementsOf = (path: string): string[] => path.split(NUL);

/** Every proper prefix of every path, and the paths themselves. */
export function withParents(set: Iterable<string>): Set<string> {
  const all = new Set<string>();
  for (const path of set) {
    for (let end = path.length; end > 0; end = path.lastIndexOf(NUL, end - 1)) {
      all.add(path.slice(0, end));
    }
  }
  return all;
}

interface Child {
  element: string;
  value: unknown;
  schema: Schema;
}

/** The members of a map, the items of a list-map or set; nothing for what is owned as a whole. */
function children(value: unknown, schema: Schema): Child[] {
  const shape = shapeOf(value, schema);
  if (shape === "map") {
    return Object.entries(value as Fields).map(([key, member]) => ({
      element: `f:${key}`,
      value: member,
      schema: memberSchema(schema, key) ?? {},
    }));
  }
  if (shape === "leaf") return [];
  return (value as unknown[]).map((item) => ({
    element:
      shape === "keyed"
        ? `k:${JSON.stringify(itemKey(item, schema))}`
        : `v:${JSON.stringify(item)}`,
    value: item,
    schema: schema.items ?? {},
  }));
}

/** Members that the schema does not name, and list items, are themselves owned. */
function isOwnElement({ element, value }: Child, parent: Schema): boolean {
  if (!element.startsWith("f:")) return true;
  if (value === null || (isFields(value) && Object.keys(value).length === 0)) return true;
  return !Object.hasOwn(parent.properties ?? {}, element.slice(2));
}

/** The paths that somebody who applies `value` owns. */
export function fieldSetOf(value: unknown, schema: Schema): Set<string> {
  const set = new Set<string>();
  collect({ value, schema, path: "" }, set);
  return set;
}

function collect(at: { value: unknown; schema: Schema; path: string }, set: Set<string>): void {
  if (shapeOf(at.value, at.schema) === "leaf") set.add(at.path);
  for (const child of children(at.value, at.schema)) {
    const path = under(at.path, child.element);
    if (isOwnElement(child, at.schema)) set.add(path);
    collect({ value: child.value, schema: child.schema, path }, set);
  }
}

export interface Comparison {
  added: Set<string>;
  modified: Set<string>;
  removed: Set<string>;
}

/** Which paths differ between two versions of an object. */
export function compare(old: unknown, next: unknown, schema: Schema): Comparison {
  const result: Comparison = { added: new Set(), modified: new Set(), removed: new Set() };
  compareAt({ old, next, schema, path: "" }, result);
  return result;
}

interface Pair {
  old: unknown;
  next: unknown;
  schema: Schema;
  path: string;
}

function compareAt({ old, next, schema, path }: Pair, result: Comparison): void {
  if (old === undefined || next === undefined) {
    const side = old === undefined ? result.added : result.removed;
    side.add(path);
    collect({ value: old ?? next, schema, path }, side);
    return;
  }
  const shape = shapeOf(next, schema);
  if (shape === "leaf" || shape !== shapeOf(old, schema)) {
    if (!isDeepStrictEqual(old, next)) result.modified.add(path);
    return;
  }
  const before = new Map(children(old, schema).map((child) => [child.element, child]));
  for (const child of children(next, schema)) {
    const match = before.get(child.element);
    before.delete(child.element);
    const place = under(path, child.element);
    compareAt({ old: match?.value, next: child.value, schema: child.schema, path: place }, result);
  }
  for (const gone of before.values()) {
    const place = under(path, gone.element);
    compareAt({ old: gone.value, next: undefined, schema: gone.schema, path: place }, result);
  }
}

/** `config` laid over `live`: members and keyed items are merged, everything else is replaced. */
export function merge(live: unknown, config: unknown, schema: Schema): unknown {
  const shape = shapeOf(config, schema);
  if (live === undefined || shape === "leaf" || shape !== shapeOf(live, schema)) return config;
  const merged = new Map(children(live, schema).map((child) => [child.element, child.value]));
  for (const { element, value, schema: inner } of children(config, schema)) {
    merged.set(element, merge(merged.get(element), value, inner));
  }
  return rebuild(merged, shape);
}

function rebuild(values: Map<string, unknown>, shape: Shape): unknown {
  if (shape !== "map") return [...values.values()];
  return Object.fromEntries([...values].map(([element, value]) => [element.slice(2), value]));
}

/** Without the `doomed` paths, but never one that is in `kept` (see `withParents`). Containers left empty go too. */
export function removePaths(
  value: unknown,
  schema: Schema,
  { doomed, kept }: { doomed: FieldSet; kept: FieldSet },
  path = "",
): unknown {
  const shape = shapeOf(value, schema);
  if (shape === "leaf") return value;
  const left = new Map<string, unknown>();
  const all = children(value, schema);
  for (const child of all) {
    const place = under(path, child.element);
    if (doomed.has(place) && !kept.has(place)) continue;
    const rest = removePaths(child.value, child.schema, { doomed, kept }, place);
    const emptied = rest !== child.value && isEmpty(rest);
    if (!emptied || kept.has(place)) left.set(child.element, rest);
  }
  const same =
    left.size === all.length && all.every((child) => left.get(child.element) === child.value);
  return same ? value : rebuild(left, shape);
}

const isEmpty = (value: unknown) =>
  Array.isArray(value) ? value.length === 0 : isFields(value) && Object.keys(value).length === 0;

/** The wire form: `{"f:spec":{"f:replicas":{}}}`. */
export function toFieldsV1(set: FieldSet): Fields {
  const root: Fields = {};
  for (const path of [...set].toSorted()) {
    let node = root;
    for (const element of elementsOf(path)) {
      const next = node[element];
      node = isFields(next) ? next : (node[element] = {});
    }
    node["."] = {};
  }
  return withoutLeafDots(root);
}

/** A path without children is written `{}`, one with children has a `.` among them. */
function withoutLeafDots(node: Fields): Fields {
  const keys = Object.keys(node);
  if (keys.length === 1 && keys[0] === ".") return {};
  return Object.fromEntries(
    keys.map((key) => [key, key === "." ? {} : withoutLeafDots(node[key] as Fields)]),
  );
}

export function fromFieldsV1(fields: unknown, path = "", set = new Set<string>()): Set<string> {
  if (!isFields(fields)) return set;
  for (const [key, child] of Object.entries(fields)) {
    if (key === ".") {
      set.add(path);
      continue;
    }
    const place = under(path, key);
    if (isEmpty(child)) set.add(place);
    else fromFieldsV1(child, place, set);
  }
  return set;
}

/** `.spec.containers[name="a"].image` */
export function pathText(path: string): string {
  return elementsOf(path).map(elementText).join("");
}

function elementText(element: string): string {
  const [kind, rest] = [element.slice(0, 2), element.slice(2)];
  if (kind === "f:") return `.${rest}`;
  if (kind === "v:") return `[=${rest}]`;
  const keys = Object.entries(JSON.parse(rest) as Fields);
  return `[${keys.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(",")}]`;
}
