import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { StoredObject } from "#localcluster/object.ts";
import { ObjectStore } from "#localcluster/store.ts";

let folder: string;
let store: ObjectStore;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "argus-store-"));
  store = new ObjectStore(folder);
});
afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true, force: true });
});

const object = (name: string, data: unknown = 0): StoredObject => ({
  apiVersion: "v1",
  kind: "Thing",
  metadata: { name, namespace: "n" },
  data,
});
const names = (list: StoredObject[]) => list.map(({ metadata }) => metadata.name);

test("versions grow by one with each write, over all kinds", () => {
  const first = store.put("/a", object("x"));
  const second = store.put("/b", object("x"));
  expect(Number(second.metadata.resourceVersion)).toBe(Number(first.metadata.resourceVersion) + 1);
  expect(store.remove("/a", first).metadata.resourceVersion).toBe(String(store.version));
});

test("an earlier list is rebuilt from the kept events", () => {
  store.put("/a", object("x", 1));
  store.put("/a", object("y", 1));
  const then = store.version;
  store.put("/a", object("x", 2));
  store.put("/a", object("z"));
  store.remove("/a", object("y"));
  expect(names(store.list("/a"))).toEqual(["x", "z"]);
  const before = store.listAt("/a", then);
  expect(names(before)).toEqual(["x", "y"]);
  expect(before[0]?.data).toBe(1);
});

test("events are kept up to a count, then older versions are 410", () => {
  const start = store.version;
  for (let count = 0; count < 8193; count += 1) store.put("/a", object("x", count));
  expect(() => store.since(start)).toThrow("too old resource version");
  expect(store.since(store.version - 4096)).toHaveLength(4096);
  expect(() => store.since(store.version - 4097)).toThrow("too old resource version");
});

test("large objects make the window shorter", () => {
  const start = store.version;
  const big = "x".repeat(3 * 1024 * 1024);
  for (let count = 0; count < 24; count += 1) store.put("/a", object("x", big + String(count)));
  expect(() => store.since(start)).toThrow("too old resource version");
  expect(store.since(store.version - 5)).toHaveLength(5);
});

test("a write that fails leaves nothing behind", () => {
  const { version } = store;
  const circular: Record<string, unknown> = {};
  circular.self = circular;
  expect(() => store.put("/a", object("x", circular))).toThrow("circular");
  expect([store.version, store.list("/a")]).toEqual([version, []]);
});
