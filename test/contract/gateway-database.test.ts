import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Change, difference } from "#gateway/store/change.ts";
import { DocumentTable } from "#gateway/store/database.ts";

let folder: string;
let path: string;
let table: DocumentTable | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "argus-database-"));
  path = join(folder, "state.db");
});
afterEach(async () => {
  table?.close();
  table = undefined;
  await rm(folder, { recursive: true });
});

function open(maxLogBytes?: number): DocumentTable {
  table?.close();
  table = new DocumentTable(path, maxLogBytes);
  return table;
}

/** Changes the closed file as a bad disk would. */
function tamper(statement: string): void {
  table?.close();
  table = undefined;
  const database = new DatabaseSync(path);
  database.exec(statement);
  database.close();
}

const bytes = (change: Change) => Buffer.from(JSON.stringify(change));
const add = (value: unknown): Change => ({ in: { list: { list: [{ add: [value] }] } } });
const whole = (uid: string, list: unknown[] = []) =>
  table?.transaction(() => table?.commit(uid, 0, JSON.stringify({ list })));
const change = (uid: string, expected: number, value: unknown) =>
  table?.transaction(() => table?.change(uid, expected, bytes(add(value))));

test("a document is its row and the changes since, also after a restart", () => {
  open();
  whole("a");
  whole("b");
  change("a", 1, 1);
  change("b", 1, "✓");
  change("a", 2, 2);
  expect(() => change("a", 2, 3)).toThrow("changed meanwhile");
  for (const again of [false, true]) {
    if (again) open();
    expect(table?.read("a")).toEqual({ version: 3, body: '{"list":[2]}' });
    expect(table?.read("b")).toEqual({ version: 2, body: '{"list":["✓"]}' });
    expect(table?.list()).toEqual([
      { uid: "a", version: 3 },
      { uid: "b", version: 2 },
    ]);
  }
});

test("a document made anew after its removal has none of its predecessor's changes", () => {
  open();
  whole("a");
  for (let version = 1; version < 5; version += 1) change("a", version, "old");
  table?.transaction(() => table?.remove("a", 5));
  expect(open().read("a")).toBeUndefined();
  whole("a", ["new"]);
  expect(open().read("a")).toEqual({ version: 1, body: '{"list":["new"]}' });
  change("a", 1, "newer");
  expect(open().read("a")).toEqual({ version: 2, body: '{"list":["newer"]}' });
});

test("a transaction that fails leaves nothing behind, in memory neither", () => {
  open();
  whole("a");
  change("a", 1, 1);
  const failing = () =>
    table?.transaction(() => {
      table?.change("a", 2, bytes(add(2)));
      table?.commit("b", 0, "{}");
      throw new Error("the disk is full");
    });
  expect(failing).toThrow("the disk is full");
  for (const again of [false, true]) {
    if (again) open();
    expect(table?.list()).toEqual([{ uid: "a", version: 2 }]);
    expect(table?.read("a")?.body).toBe('{"list":[1]}');
  }
});

test("a damaged change stops its document only, and is never taken for less", () => {
  open();
  whole("a");
  whole("b");
  table?.transaction(() => {
    table?.change("a", 1, bytes(add("first")));
    table?.change("b", 1, bytes(add("second")));
  });
  change("b", 2, "third");
  tamper(
    "UPDATE log SET changes = CAST(replace(CAST(changes AS TEXT), 'first', 'fir\n\n') AS BLOB)",
  );
  open();
  expect(() => table?.read("a")).toThrow(/fails its checksum/);
  expect(() => change("a", 2, 1)).toThrow(/fails its checksum/);
  expect(() => table?.transaction(() => table?.remove("a", 2))).toThrow(/fails its checksum/);
  expect(table?.read("b")).toEqual({ version: 3, body: '{"list":["third"]}' });
  expect(table?.list().map(({ version }) => version)).toEqual([2, 3]);
});

test("a missing row of the log is seen by the documents that had changes in it", () => {
  open();
  whole("a");
  whole("b");
  for (const version of [1, 2, 3]) change("a", version, version);
  change("b", 1, "fine");
  tamper("DELETE FROM log WHERE seq = 2");
  open();
  expect(() => table?.read("a")).toThrow(/fails its checksum/);
  expect(table?.read("b")?.version).toBe(2);
});

test("a row of the log that tells no more whose it is ends everything", () => {
  open();
  whole("a");
  change("a", 1, 1);
  tamper("UPDATE log SET docs = replace(docs, '\"a\"', '\"x\"')");
  expect(() => open()).toThrow(/does not tell which sessions it belongs to/);
});

test("a file of the first version is taken over", () => {
  const database = new DatabaseSync(path);
  const checksum = createHash("sha256").update('a\n7\n{"list":[]}').digest("base64");
  database.exec(`CREATE TABLE documents (
      uid TEXT PRIMARY KEY, version INTEGER NOT NULL, checksum TEXT NOT NULL, body TEXT NOT NULL
    ) STRICT;
    INSERT INTO documents VALUES ('a', 7, '${checksum}', '{"list":[]}');
    PRAGMA user_version = 1`);
  database.close();
  open();
  expect(table?.read("a")).toEqual({ version: 7, body: '{"list":[]}' });
  change("a", 7, 1);
  expect(open().read("a")).toEqual({ version: 8, body: '{"list":[1]}' });
});

test("a newer file is refused with both versions named", () => {
  const database = new DatabaseSync(path);
  database.exec("PRAGMA user_version = 3");
  database.close();
  expect(() => open()).toThrow(/has version 3, and this Argus knows versions up to 2/);
});

const LIMIT = 4096;
const action = fc.record({
  uid: fc.constantFrom("a", "b", "c"),
  kind: fc.constantFrom("grow", "grow", "grow", "shrink", "edit", "whole", "remove", "reopen"),
  size: fc.nat(600),
});
type Document = { list: { id: number; text: string }[] };

function next({ list }: Document, kind: string, made: { id: number; text: string }): Document {
  if (kind === "shrink") return { list: list.slice(1) };
  if (kind === "edit")
    return { list: list.map((each, at) => (at === 0 ? { ...each, ...made } : each)) };
  return { list: [...list, made] };
}

test("whatever is written how, removed and opened again: every document is what was committed last, and the log stays bounded", () => {
  fc.assert(
    fc.property(fc.array(action, { minLength: 20, maxLength: 120 }), (actions) => {
      tamper("SELECT 1");
      open(LIMIT).transaction(() => {
        for (const { uid, version } of table?.list() ?? []) table?.remove(uid, version);
      });
      const model = new Map<string, { version: number; document: Document }>();
      let id = 0;
      for (const { uid, kind, size } of actions) {
        if (kind === "reopen") open(LIMIT);
        const { version, document } = model.get(uid) ?? { version: 0, document: { list: [] } };
        const after = next(document, kind, { id: (id += 1), text: "x".repeat(size) });
        const step = difference(document, after);
        table?.transaction(() => {
          if (kind === "remove") table?.remove(uid, version);
          else if (version === 0 || kind === "whole" || !step)
            table?.commit(uid, version, JSON.stringify(after));
          else table?.change(uid, version, bytes(step));
        });
        if (kind === "remove") model.delete(uid);
        else model.set(uid, { version: version + 1, document: after });
      }
      for (const again of [false, true]) {
        if (again) open(LIMIT);
        for (const uid of ["a", "b", "c"]) {
          const { version = 0, body = "null" } = table?.read(uid) ?? {};
          const wanted = model.get(uid);
          expect({ version, document: JSON.parse(body) ?? undefined }).toEqual({
            version: wanted?.version ?? 0,
            document: wanted?.document,
          });
        }
      }
    }),
    { numRuns: 25 },
  );
  table?.close();
  table = undefined;
  const database = new DatabaseSync(path);
  const { bytes: kept } = database
    .prepare("SELECT sum(length(changes)) AS bytes FROM log")
    .get() as {
    bytes: number;
  };
  database.close();
  expect(kept).toBeLessThan(2 * LIMIT);
});

test("a document that cannot be read does not keep the log from shrinking", () => {
  open(LIMIT);
  whole("bad");
  whole("good");
  change("bad", 1, "evidence");
  tamper("UPDATE log SET changes = CAST(replace(CAST(changes AS TEXT), 'evid', 'EVID') AS BLOB)");
  open(LIMIT);
  for (let version = 1; version < 30; version += 1) change("good", version, "x".repeat(400));
  expect(() => table?.read("bad")).toThrow(/fails its checksum/);
  expect(open(LIMIT).read("good")?.version).toBe(30);
  expect(() => table?.read("bad")).toThrow(/fails its checksum/);
  tamper("SELECT 1");
  const database = new DatabaseSync(path);
  const row = database.prepare("SELECT body FROM documents WHERE uid = 'bad'").get();
  database.close();
  expect(row?.["body"]).toContain("EVIDence");
});
