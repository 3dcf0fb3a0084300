import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openGatewayState } from "#gateway/state/gateway-state.ts";
import type { Store } from "#gateway/store/store.ts";

/** One place that stores can be opened on, one after the other. */
export interface StorePlace {
  open(): Promise<Store>;
  /** Removes everything. */
  clear(): Promise<void>;
}

export interface StoreBackEnd {
  name: string;
  /** Called once; `close` at the end. */
  start: () => Promise<{ place(): Promise<StorePlace>; close(): Promise<void> }>;
  /** Random histories: fewer where each write is a call over the network. */
  histories: number;
}

/** What every back end of the store promises. */
export function storeContract({ name, start, histories }: StoreBackEnd): void {
  describe(`store: ${name}`, () => {
    let backEnd: Awaited<ReturnType<typeof start>>;
    let place: StorePlace;
    let store: Store;
    beforeAll(async () => {
      backEnd = await start();
    }, 120_000);
    afterAll(() => backEnd?.close());
    beforeEach(async () => {
      place = await backEnd.place();
      store = await place.open();
    });
    afterEach(async () => {
      await store.close();
      await place.clear();
    });
    const reopen = async () => {
      await store.close();
      store = await place.open();
    };

    test("documents are changed by compare-and-swap and survive a restart", async () => {
      expect(await store.read("a")).toBeUndefined();
      expect(await store.commit("a", 0, { n: 1 })).toBe(1);
      expect(await store.commit("a", 1, { n: "zwei ✓" })).toBe(2);
      await expect(store.commit("a", 1, {})).rejects.toMatchObject({ code: "Conflict" });
      await expect(store.commit("b", 1, {})).rejects.toMatchObject({ code: "Conflict" });
      await expect(store.remove("a", 1)).rejects.toMatchObject({ code: "Conflict" });
      await reopen();
      expect(await store.read("a")).toEqual({ version: 2, body: { n: "zwei ✓" } });
      expect(await store.list()).toEqual([{ uid: "a", version: 2 }]);
      await store.remove("a", 2);
      await store.remove("a", 2);
      expect(await store.list()).toEqual([]);
      expect(await store.read("a")).toBeUndefined();
      expect(await store.commit("a", 0, { n: 3 })).toBe(1);
    });

    test("a document is put in the place of another, whatever version it has", async () => {
      expect(await store.overwrite("a", { n: 1 })).toBe(1);
      expect(await store.commit("a", 1, { n: 2 })).toBe(2);
      expect(await store.commit("a", 2, { n: 3 })).toBe(3);
      expect(await store.overwrite("a", { n: 4 })).toBe(4);
      await expect(store.commit("a", 3, {})).rejects.toMatchObject({ code: "Conflict" });
      expect(await store.commit("a", 4, { n: 5 })).toBe(5);
      const over = store.overwrite("a", "x".repeat(store.maxDocumentBytes));
      await expect(over).rejects.toMatchObject({ code: "TooLarge" });
      await reopen();
      expect(await store.read("a")).toEqual({ version: 5, body: { n: 5 } });
    });

    test("a version that nobody has read in this process counts too", async () => {
      await store.commit("a", 0, {});
      await reopen();
      await expect(store.commit("a", 0, {})).rejects.toMatchObject({ code: "Conflict" });
      expect(await store.commit("a", 1, {})).toBe(2);
    });

    test("of commits at once each gets its own answer", async () => {
      const results = await Promise.allSettled(
        Array.from({ length: 60 }, (_, index) => store.commit(`u${index % 45}`, 0, { index })),
      );
      expect(results.filter(({ status }) => status === "fulfilled").length).toBe(45);
      const refused = results.flatMap((each) => (each.status === "rejected" ? [each.reason] : []));
      expect(refused.every(({ code }) => code === "Conflict")).toBe(true);
      const listed = await store.list();
      expect(listed.map(({ uid }) => uid).sort()).toEqual(
        Array.from({ length: 45 }, (_, index) => `u${index}`).sort(),
      );
    });

    test("a document at its bound is taken, one over it refused; the old one stays", async () => {
      const fitting = "x".repeat(store.maxDocumentBytes - 2);
      expect(await store.commit("a", 0, fitting)).toBe(1);
      const over = store.commit("a", 1, `${fitting}x`);
      await expect(over).rejects.toMatchObject({
        code: "TooLarge",
        facts: { bytes: store.maxDocumentBytes + 1, limit: store.maxDocumentBytes },
      });
      expect(await store.read("a")).toEqual({ version: 1, body: fitting });
    });

    test("a document that grows piece by piece is refused at its bound and goes on when it has shrunk", async () => {
      const piece = "x".repeat(store.maxDocumentBytes / 16);
      let body: { list: string[] } = { list: [] };
      let version = 0;
      const grow = async () => {
        const next = { list: [...body.list, piece] };
        version = await store.commit("a", version, next);
        body = next;
      };
      for (let count = 0; count < 15; count += 1) await grow();
      await expect(grow()).rejects.toMatchObject({ code: "TooLarge" });
      body = { list: body.list.slice(3) };
      version = await store.commit("a", version, body);
      await grow();
      await reopen();
      expect(await store.read("a")).toEqual({ version, body });
    });

    test("a gateway document of another version is refused", async () => {
      await store.commit("gateway", 0, { schemaVersion: 99, epoch: 1, keys: [] });
      await expect(openGatewayState(store)).rejects.toMatchObject({ reason: "NewerSchema" });
    });

    test("random histories, closed at random moments: what was committed is what is read", async () => {
      const step = fc.record({
        uid: fc.constantFrom("a", "b"),
        kind: fc.constantFrom("push", "push", "shift", "edit", "copy", "remove", "reopen"),
        // JSON has no -0, which `jsonValue` may give.
        value: fc.jsonValue({ maxDepth: 2 }).map(asJson),
      });
      const history = fc.array(step, { maxLength: 30 });
      await fc.assert(
        fc.asyncProperty(history, async (steps) => {
          for (const { uid, version } of await store.list()) await store.remove(uid, version);
          const model = new Map<string, { version: number; body: { list: unknown[] } }>();
          for (const { uid, kind, value } of steps) {
            if (kind === "reopen") await reopen();
            const { version, body } = model.get(uid) ?? { version: 0, body: { list: [] } };
            if (kind === "remove") {
              await store.remove(uid, version);
              model.delete(uid);
              continue;
            }
            const next = { list: changed(body.list, kind, value) };
            model.set(uid, { version: await store.commit(uid, version, next), body: next });
          }
          for (const again of [false, true]) {
            if (again) await reopen();
            for (const uid of ["a", "b"]) {
              expect(await store.read(uid)).toEqual(asJson(model.get(uid)));
            }
          }
        }),
        { numRuns: histories },
      );
    });
  });
}

function changed(list: unknown[], kind: string, value: unknown): unknown[] {
  switch (kind) {
    case "push":
      return [...list, { value }];
    case "shift":
      return list.slice(1);
    case "edit":
      return list.map((each, at) => (at === list.length >> 1 ? { ...Object(each), value } : each));
    default:
      return JSON.parse(JSON.stringify(list)) as unknown[];
  }
}

function asJson(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}
