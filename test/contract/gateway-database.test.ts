import { createHash } from "node:crypto";
import { readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { copyFile, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Change, difference } from "#gateway/store/change.ts";
import { ChangeLog } from "#gateway/store/change-log.ts";
import { DocumentTable } from "#gateway/store/database.ts";
import { FailedSync, failureWords, isFull } from "#gateway/store/failures.ts";
import { LogSegments } from "#gateway/store/log-segments.ts";

let folder: string;
let path: string;
let table: DocumentTable | undefined;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "argus-database-"));
  path = join(folder, "state.db");
});
afterEach(async () => {
  shut();
  await rm(folder, { recursive: true });
});

function shut(): void {
  table?.close();
  table = undefined;
}

function open(maxLogBytes?: number): DocumentTable {
  shut();
  table = new DocumentTable(path, maxLogBytes);
  return table;
}

/** Changes the closed file as a bad disk would. */
function tamper(statement: string): void {
  shut();
  const database = new DatabaseSync(path);
  database.exec(statement);
  database.close();
}

const logPath = () => join(folder, "state-1.log");
/** The log's first file, changed as a bad disk would. */
function tamperLog(change: (file: Buffer) => void): void {
  shut();
  const file = readFileSync(logPath());
  change(file);
  writeFileSync(logPath(), file);
}
const replaceIn = (text: string, other: string) => (file: Buffer) => {
  const at = file.indexOf(text);
  expect(at).toBeGreaterThan(0);
  file.write(other, at);
};

const bytes = (change: Change) => Buffer.from(JSON.stringify(change));
const add = (value: unknown): Change => ({ in: { list: { list: [{ add: [value] }] } } });
const changed = (uid: string, expected: number, step: Change, isWhole = false) => {
  table?.change(uid, expected, bytes(step), isWhole);
  table?.flush();
};
const whole = (uid: string, list: unknown[] = []) =>
  table?.transaction(() => table?.commit(uid, 0, JSON.stringify({ list })));
const change = (uid: string, expected: number, value: unknown) =>
  changed(uid, expected, add(value));

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
      table?.commit("a", 2, "{}");
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

test("a whole document in the log ends the need of what was before it, damaged or not", () => {
  threeRecords();
  changed("b", 4, { set: { list: ["whole"] } }, true);
  changed("b", 5, { in: { list: { list: [[0, 1], { add: ["after"] }] } } });
  tamperLog(replaceIn("third", "THIRD"));
  expect(open().read("b")).toEqual({ version: 6, body: '{"list":["whole","after"]}' });
  expect(table?.read("a")?.body).toBe('{"list":["first"]}');
});

test("what did not fit onto the disk is taken back, a whole document in the log too", () => {
  const log = new ChangeLog(join(folder, "state"));
  log.load(new Map());
  log.append("a", 1, bytes(add("before")), false);
  log.flush();
  log.append("b", 1, bytes(add("other")), false);
  log.flush();
  log.append("a", 2, bytes({ set: { list: [] } }), true);
  log.append("a", 3, bytes(add("lost")), false);
  log.append("c", 1, bytes(add("lost")), false);
  log.forgetPending();
  expect(log.tail("a")).toMatchObject({ version: 2, changes: [bytes(add("before"))], firstSeq: 1 });
  expect([log.oldest(), log.tail("c")]).toEqual(["a", undefined]);
  log.close();
});

/** `first` of a and `second` of b in one record, then two more of b. */
function threeRecords(): void {
  open();
  whole("a");
  whole("b");
  table?.change("a", 1, bytes(add("first")));
  table?.change("b", 1, bytes(add("second")));
  table?.flush();
  change("b", 2, "third");
  change("b", 3, "fourth");
}

test("a damaged change stops its document only, and is never taken for less", () => {
  threeRecords();
  tamperLog(replaceIn("first", "fi?st"));
  open();
  expect(() => table?.read("a")).toThrow(/fails its checksum/);
  expect(() => change("a", 2, 1)).toThrow(/fails its checksum/);
  expect(() => table?.transaction(() => table?.remove("a", 2))).toThrow(/fails its checksum/);
  expect(table?.read("b")).toEqual({ version: 4, body: '{"list":["fourth"]}' });
  expect(table?.list().map(({ version }) => version)).toEqual([2, 4]);
});

test("a record of the log that tells no more whose it is ends everything, and so does one that is missing", async () => {
  threeRecords();
  shut();
  await copyFile(logPath(), join(folder, "kept"));
  const wrong: ((file: Buffer) => void)[] = [
    replaceIn('"a"', '"x"'),
    (file) => file.fill(0, 0, 100),
    (file) => file.fill(0, file.indexOf("third") - 100, file.indexOf("third") + 10),
  ];
  for (const each of wrong) {
    await copyFile(join(folder, "kept"), logPath());
    tamperLog(each);
    expect(() => open()).toThrow(/record 1|record 2/);
  }
});

test("a log that is gone is missed where a row names one of its records", async () => {
  threeRecords();
  table?.transaction(() => table?.commit("a", 2, '{"list":[]}'));
  shut();
  await rm(logPath());
  expect(() => open()).toThrow(/record 3 of the log is missing/);
});

test("a record that was cut off anywhere in the writing was never there, and the next takes its place", () => {
  threeRecords();
  shut();
  const file = readFileSync(logPath());
  const cuts = new Set<number>();
  const last = file.lastIndexOf(Buffer.from([0xff, 0xa6, 0x0d, 0x01]));
  for (let at = last; at < file.indexOf("fourth") + 10; at += 1) cuts.add(at);
  expect(cuts.size).toBeGreaterThan(60);
  for (const at of cuts) {
    shut();
    writeFileSync(
      logPath(),
      file.map((byte, index) => (index < at ? byte : 0)),
    );
    if (at % 2 === 0) truncateSync(logPath(), at);
    const { version = 0, body = "" } = open().read("b") ?? {};
    const isWhole = body.includes("fourth");
    expect({ version, body }).toEqual(
      isWhole
        ? { version: 4, body: '{"list":["fourth"]}' }
        : { version: 3, body: '{"list":["third"]}' },
    );
    expect(isWhole).toBe(at >= file.indexOf("fourth") + '"fourth"]}]}}}'.length - 1);
    change("b", version, "after");
    expect(open().read("b")).toEqual({ version: version + 1, body: '{"list":["after"]}' });
  }
});

test("a sync that fails is no full disk, even where the disk says so: nothing goes on after it", () => {
  const segments = new LogSegments(join(folder, "state"));
  segments.append({ seq: 1, oldest: 1, docs: "[]", changes: Buffer.alloc(0) });
  // Its files are gone from under it.
  segments.close();
  expect(() => segments.sync()).toThrow(FailedSync);
  const full = new FailedSync(Object.assign(new Error("ENOSPC"), { code: "ENOSPC" }));
  expect(isFull(full)).toBe(false);
  expect(isFull(full.cause)).toBe(true);
  expect(failureWords(full, "/state")).toContain("the disk of /state is full");
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

test("a file of the second version is taken over with the log that it had inside", () => {
  const database = new DatabaseSync(path);
  const sum = (uid: string) =>
    createHash("sha256").update(`${uid}\n7\n3\n{"list":[]}`).digest("base64");
  database.exec(`CREATE TABLE documents (
      uid TEXT PRIMARY KEY, version INTEGER NOT NULL, checksum TEXT NOT NULL, body TEXT NOT NULL,
      since INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE log (
      seq INTEGER PRIMARY KEY, docs TEXT NOT NULL, checksum INTEGER NOT NULL, changes BLOB NOT NULL
    ) STRICT;
    INSERT INTO documents VALUES ('a', 7, '${sum("a")}', '{"list":[]}', 3), ('b', 7, '${sum("b")}', '{"list":[]}', 3);
    PRAGMA user_version = 2`);
  const insert = database.prepare("INSERT INTO log VALUES (?, ?, ?, ?)");
  const step = bytes(add("new"));
  const record = (seq: number, uid: string, version: number, checksum?: number) => {
    const own = crc32(step, crc32(`${uid}\n${version}\n`));
    const docs = JSON.stringify([[uid, version, checksum ?? own, step.length]]);
    insert.run(seq, docs, crc32(`${seq}\n${docs}`), step);
  };
  record(3, "a", 7);
  record(4, "a", 8);
  record(5, "b", 8, 1);
  database.close();
  for (const _again of [false, true]) {
    open();
    expect(table?.read("a")).toEqual({ version: 8, body: '{"list":["new"]}' });
    expect(() => table?.read("b")).toThrow(/fails its checksum/);
  }
  change("a", 8, "newer");
  expect(open().read("a")).toEqual({ version: 9, body: '{"list":["newer"]}' });
  expect(() => table?.read("b")).toThrow(/fails its checksum/);
});

test("a newer file is refused with both versions named", () => {
  const database = new DatabaseSync(path);
  database.exec("PRAGMA user_version = 5");
  database.close();
  expect(() => open()).toThrow(/has version 5, and this Argus knows versions up to 4/);
});

const LIMIT = 4096;
const MIB = 2 ** 20;
const action = fc.record({
  uid: fc.constantFrom("a", "b", "c"),
  kind: fc.constantFrom(
    "grow",
    "grow",
    "grow",
    "shrink",
    "edit",
    "row",
    "whole",
    "remove",
    "reopen",
  ),
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
        if (kind === "remove") table?.transaction(() => table?.remove(uid, version));
        else if (version > 0 && kind === "whole") changed(uid, version, { set: after }, true);
        else if (version > 0 && kind !== "row" && step) changed(uid, version, step);
        else table?.transaction(() => table?.commit(uid, version, JSON.stringify(after)));
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
});

test("the log's files are used over and over, and what is read from them stays right", async () => {
  open(MIB);
  const uids = ["a", "b", "c"];
  for (const uid of uids) whole(uid);
  const versions = new Map(uids.map((uid) => [uid, 1]));
  for (let round = 0; round < 400; round += 1) {
    const uid = uids[round % 3] ?? "a";
    const version = versions.get(uid) ?? 0;
    changed(uid, version, { set: { list: [round, "x".repeat(60_000)] } });
    versions.set(uid, version + 1);
    if (round % 57 === 0) open(MIB);
  }
  for (const [uid, version] of versions) expect(open(MIB).read(uid)?.version).toBe(version);
  const files = (await readdir(folder)).filter((name) => name.endsWith(".log"));
  const sizes = files.map((name) => statSync(join(folder, name)).size);
  // 24 MB went through it.
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(14 * MIB);
});

test("a document that cannot be read does not keep the log from shrinking", () => {
  open(LIMIT);
  whole("bad");
  whole("good");
  change("bad", 1, "evidence");
  change("good", 1, "first");
  tamperLog(replaceIn("evid", "EVID"));
  open(LIMIT);
  for (let version = 2; version < 30; version += 1) change("good", version, "x".repeat(400));
  expect(() => table?.read("bad")).toThrow(/fails its checksum/);
  expect(open(LIMIT).read("good")?.version).toBe(30);
  expect(() => table?.read("bad")).toThrow(/fails its checksum/);
  tamper("SELECT 1");
  const database = new DatabaseSync(path);
  const row = database.prepare("SELECT body FROM documents WHERE uid = 'bad'").get();
  database.close();
  expect(row?.["body"]).toContain("EVIDence");
});
