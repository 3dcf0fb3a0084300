import fc from "fast-check";
import { expect, test } from "vitest";
import type { ConfigMap } from "#cluster/core-types.ts";
import { KubeError } from "#cluster/kube-error.ts";
import type { KubeClient, KubeObject, Resource } from "#cluster/types.ts";
import { UidBook } from "#controller/session/uid-book.ts";
import {
  formatUidTable,
  parseUidTable,
  UidDraft,
  type UidSupply,
  type UidTable,
  type Wanted,
} from "#controller/session/uid-claims.ts";
import { settled } from "../../support/manual-clock.ts";

const range = { first: 100, last: 199 };
const none = { range, reserved: new Set<number>() };

/** The table with these claims; the same table when nothing changed. */
function claimUids(table: UidTable, claims: Wanted[], supply: UidSupply): UidTable {
  const draft = new UidDraft(table, supply);
  for (const claim of claims) draft.claim(claim);
  return draft.result ?? table;
}

const wanted = (id: string, recorded?: number) => ({ name: `n-${id}`, uid: id, recorded });

test("claims are distinct, stable and inside the range", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.string({ minLength: 1 }), { maxLength: 90 }), (ids) => {
      const table = claimUids(
        new Map(),
        ids.map((id) => wanted(id)),
        none,
      );
      expect(table.size).toBe(ids.length);
      expect([...table.keys()].every((uid) => uid >= 100 && uid <= 199)).toBe(true);
      expect(
        claimUids(
          table,
          ids.map((id) => wanted(id)),
          none,
        ),
      ).toBe(table);
    }),
  );
});

test("an id that was recorded is taken again, and never given to somebody else", () => {
  const reserved = new Set([100, 101]);
  const table = claimUids(new Map(), [wanted("new"), wanted("old", 101)], { range, reserved });
  expect(formatUidTable(table)).toEqual({ 101: "n-old/old", 102: "n-new/new" });
});

test("a full range is said in words", () => {
  const full = { range: { first: 1, last: 1 }, reserved: new Set<number>() };
  expect(() => claimUids(new Map(), [wanted("a"), wanted("b")], full)).toThrow("1-1 are taken");
});

test("the table survives its text form and releasing frees the id", () => {
  const table = claimUids(new Map(), [wanted("a"), wanted("b")], none);
  expect(parseUidTable(formatUidTable(table))).toEqual(table);
  const draft = new UidDraft(table, none);
  draft.release("a");
  const released = draft.result ?? table;
  expect(claimUids(released, [wanted("c")], none).get(100)?.uid).toBe("c");
});

/** One ConfigMap with compare-and-swap; calls wait until they are let through. */
class OneConfigMap {
  object: ConfigMap | undefined;
  writes = 0;
  #version = 0;

  client(): KubeClient {
    return {
      get: async () => structuredClone(this.object),
      create: async (_: Resource, object: KubeObject) => {
        await settled();
        if (this.object) throw failure("AlreadyExists");
        return this.#store(object);
      },
      replace: async (_: Resource, object: KubeObject) => {
        await settled();
        if (this.object?.metadata.resourceVersion !== object.metadata.resourceVersion) {
          throw failure("Conflict");
        }
        return this.#store(object);
      },
    } as unknown as KubeClient;
  }

  #store(object: KubeObject): KubeObject {
    this.writes += 1;
    this.#version += 1;
    const metadata = { ...object.metadata, resourceVersion: String(this.#version) };
    this.object = structuredClone({ ...object, metadata });
    return structuredClone(this.object);
  }
}

const failure = (reason: string) =>
  new KubeError({ call: "test", status: 409, answer: { kind: "Status", reason } });

const bookOf = (map: OneConfigMap, last = 20_000) =>
  new UidBook({
    kube: map.client(),
    namespace: "default",
    range: { first: 1, last },
    recorded: () => [],
  });

test("10,000 parallel claims of two controllers: no collision, few writes", async () => {
  const map = new OneConfigMap();
  const [one, two] = [bookOf(map), bookOf(map)];
  await Promise.all([one.load(), two.load()]);
  const claims = Array.from({ length: 10_000 }, (_, i) =>
    (i % 2 === 0 ? one : two).claim({ name: `s-${i}`, uid: `uid-${i}` }),
  );
  const ids = await Promise.all(claims);
  expect(new Set(ids).size).toBe(10_000);
  expect(map.writes).toBeLessThan(10);
});

test("the same session gets the same id from every controller", async () => {
  const map = new OneConfigMap();
  const [one, two] = [bookOf(map), bookOf(map)];
  await Promise.all([one.load(), two.load()]);
  const session = { name: "main", uid: "uid-1" };
  const [a, b] = await Promise.all([one.claim(session), two.claim(session)]);
  expect(a).toBe(b);
});

test("one claim that cannot be met does not fail the others", async () => {
  const book = bookOf(new OneConfigMap(), 2);
  await book.load();
  const results = await Promise.allSettled(
    ["a", "b", "c"].map((uid) => book.claim({ name: uid, uid })),
  );
  expect(results.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected"]);
});

test("a released id is given again; a deleted ConfigMap is written again whole", async () => {
  const map = new OneConfigMap();
  const book = bookOf(map);
  await book.load();
  await book.claim({ name: "a", uid: "a" });
  await book.claim({ name: "b", uid: "b" });
  await book.release("a");
  expect(await book.claim({ name: "c", uid: "c" })).toBe(1);
  expect(book.holdersNamed("c")).toEqual([{ name: "c", uid: "c" }]);
});
