import fc from "fast-check";
import { beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { StoredState } from "#gateway/state/document.ts";
import { MemoryStore } from "#test/fakes/memory-store.ts";

const KIND = { what: "The list", schema: z.array(z.number()), empty: [] as number[] };
const add = (value: number) => (list: number[]) => ({
  document: [...list, value],
  answer: list.length,
});
const onDisk = (store: MemoryStore) => (store.documents.get("u")?.body ?? []) as number[];

let store: MemoryStore;
let state: StoredState<number[]>;
beforeEach(async () => {
  store = new MemoryStore();
  state = await StoredState.open(store, "u", KIND);
});

test("commands that come during a commit share the next one, in order", async () => {
  const gate = Promise.withResolvers<void>();
  store.gate = gate.promise;
  const answers = Array.from({ length: 65 }, (_, value) => state.reduce(add(value)));
  expect(state.current).toEqual([]);
  gate.resolve();
  expect(await Promise.all(answers)).toEqual(Array.from({ length: 65 }, (_, index) => index));
  expect(onDisk(store)).toEqual(Array.from({ length: 65 }, (_, index) => index));
  expect(store.commits).toBeLessThanOrEqual(2);
});

test("a failed commit takes back what rested on it, and only that", async () => {
  await state.reduce(add(1));
  const gate = Promise.withResolvers<void>();
  store.gate = gate.promise;
  const first = state.reduce(add(2));
  await new Promise<void>((resolve) => setImmediate(resolve));
  const second = state.reduce(add(3));
  const reader = state.reduce((document) => ({ document, answer: document.length }));
  store.failures.push(new Error("the disk is full"));
  gate.resolve();
  await expect(first).rejects.toThrow("the disk is full");
  await expect(second).rejects.toMatchObject({ code: "Unavailable" });
  await expect(reader).rejects.toMatchObject({ code: "Unavailable" });
  expect(state.current).toEqual([1]);
  expect(await state.reduce(add(4))).toBe(1);
  expect(onDisk(store)).toEqual([1, 4]);
});

test("who only asks waits for what it has seen", async () => {
  const gate = Promise.withResolvers<void>();
  store.gate = gate.promise;
  const write = state.reduce(add(1));
  const seen = state.reduce((document) => ({ document, answer: document.length }));
  let answered = false;
  void seen.then(() => {
    answered = true;
  });
  await new Promise<void>((resolve) => setImmediate(resolve));
  expect(answered).toBe(false);
  gate.resolve();
  await write;
  expect(await seen).toBe(1);
});

test("whatever fails when, those who were answered are on the disk and nobody else is", async () => {
  const step = fc.record({ fails: fc.boolean(), burst: fc.integer({ min: 1, max: 5 }) });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
      const disk = new MemoryStore();
      const document = await StoredState.open(disk, "u", KIND);
      const accepted: number[] = [];
      let value = 0;
      const waiting: Promise<void>[] = [];
      for (const { fails, burst } of steps) {
        if (fails) disk.failures.push(new Error("no"));
        for (let index = 0; index < burst; index += 1) {
          const mine = (value += 1);
          const keep = () => void accepted.push(mine);
          waiting.push(document.reduce(add(mine)).then(keep, () => undefined));
        }
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
      await Promise.all(waiting);
      expect(onDisk(disk)).toEqual(accepted);
      expect(document.current).toEqual(accepted);
    }),
    { numRuns: 300 },
  );
});

test("a shape that is not known is refused, not replaced", async () => {
  store.documents.set("v", { version: 3, body: "other" });
  await expect(StoredState.open(store, "v", KIND)).rejects.toThrow(/start the Argus version/);
  expect(store.documents.get("v")?.version).toBe(3);
});

test("a watcher sees the versions that are on the disk, and no other", async () => {
  const seen: number[][] = [];
  const stop = state.watch((document) => seen.push(document));
  store.failures.push(new Error("the disk is full"));
  await expect(state.reduce(add(1))).rejects.toThrow("the disk is full");
  await state.reduce(add(2));
  stop();
  await state.reduce(add(3));
  expect(seen).toEqual([[2]]);
});
