import fc from "fast-check";
import { expect, test } from "vitest";
import { WorkQueue } from "#lib/workqueue.ts";
import { ManualClock, settled } from "../../support/manual-clock.ts";

const never = new AbortController().signal;

test("a key is in the queue once however often it is added", async () => {
  const queue = new WorkQueue();
  for (let i = 0; i < 10_000; i += 1) queue.add("a");
  expect(queue.depth).toBe(1);
  expect(await queue.take(never)).toBe("a");
  expect(queue.depth).toBe(0);
});

test("10,000 adds while a key is being processed make it run once more", async () => {
  const queue = new WorkQueue();
  queue.add("a");
  await queue.take(never);
  for (let i = 0; i < 10_000; i += 1) queue.add("a");
  expect(queue.depth).toBe(0);
  queue.done("a");
  expect(queue.depth).toBe(1);
  await queue.take(never);
  queue.done("a");
  expect(queue.depth).toBe(0);
});

test("a live key waits behind no item of a long initial list", async () => {
  const queue = new WorkQueue();
  for (let i = 0; i < 5000; i += 1) queue.add(`initial-${i}`, "low");
  queue.add("live");
  expect(await queue.take(never)).toBe("live");
});

test("a key that was listed and then changes moves to the front", async () => {
  const queue = new WorkQueue();
  for (let i = 0; i < 100; i += 1) queue.add(`key-${i}`, "low");
  queue.add("key-99", "high");
  expect(await queue.take(never)).toBe("key-99");
  expect(queue.depth).toBe(99);
});

test("keys of low priority are not starved by an endless stream of live ones", async () => {
  const queue = new WorkQueue();
  queue.add("low", "low");
  const taken: string[] = [];
  for (let i = 0; i < 40; i += 1) {
    queue.add(`live-${i}`);
    taken.push(await queue.take(never));
  }
  expect(taken).toContain("low");
});

test("an urgent key goes before the others, and starves neither of them", async () => {
  const queue = new WorkQueue();
  queue.add("low", "low");
  queue.add("high");
  queue.add("low-2", "low");
  queue.add("low-2", "urgent");
  expect(await queue.take(never)).toBe("low-2");
  const taken: string[] = [];
  for (let i = 0; i < 40; i += 1) {
    queue.add(`urgent-${i}`, "urgent");
    taken.push(await queue.take(never));
  }
  expect(taken[0]).toBe("urgent-0");
  expect(taken).toContain("high");
  expect(taken).toContain("low");
});

test("a key that waits is not put back by an addition of lower priority", async () => {
  const queue = new WorkQueue();
  queue.add("other");
  queue.add("a", "urgent");
  queue.add("a", "low");
  expect(await queue.take(never)).toBe("a");
  queue.add("a", "low");
  queue.add("a", "urgent");
  queue.add("a");
  queue.done("a");
  expect(await queue.take(never)).toBe("a");
});

test("tells how long a key waited, from its first addition, and how long it was worked on", async () => {
  const clock = new ManualClock();
  const queue = new WorkQueue({ clock });
  const told: string[] = [];
  queue.observe({
    waited: (ms) => told.push(`waited ${ms}`),
    worked: (ms) => told.push(`worked ${ms}`),
  });
  queue.add("a", "low");
  await clock.advance(30);
  queue.add("a", "urgent");
  await clock.advance(20);
  const key = await queue.take(never);
  await clock.advance(7);
  expect(queue.workingMs).toEqual([7]);
  queue.done(key);
  expect(told).toEqual(["waited 50", "worked 7"]);
  expect(queue.workingMs).toEqual([]);
});

test("retries of one key double from 5 ms to 1,000 s and begin anew after forget", () => {
  const queue = new WorkQueue({ clock: new ManualClock(), bucket: { perSecond: 1e9, burst: 1e9 } });
  const delays = Array.from({ length: 22 }, () => queue.retry("a"));
  expect(delays.slice(0, 4)).toEqual([5, 10, 20, 40]);
  expect(delays.at(-1)).toBe(1_000_000);
  queue.forget("a");
  expect(queue.retry("a")).toBe(5);
});

test("retries of all keys together pass a bucket of 100 and 10 per second", () => {
  const queue = new WorkQueue({ clock: new ManualClock() });
  const delays = Array.from({ length: 150 }, (_, i) => queue.retry(`key-${i}`));
  expect(Math.max(...delays.slice(0, 100))).toBe(5);
  expect(delays[149]).toBe(5000);
});

test("of several delays for one key the earliest holds, and it comes once", async () => {
  const clock = new ManualClock();
  const queue = new WorkQueue({ clock });
  queue.addAfter("a", 10_000);
  queue.addAfter("a", 1000);
  queue.addAfter("a", 5000);
  await clock.advance(999);
  expect(queue.depth).toBe(0);
  await clock.advance(1);
  expect(queue.depth).toBe(1);
  await queue.take(never);
  queue.done("a");
  await clock.advance(60_000);
  expect(queue.depth).toBe(0);
});

test("a full queue refuses a new key and still takes known ones", () => {
  const queue = new WorkQueue({ maxKeys: 2 });
  queue.add("a");
  queue.add("b");
  expect(() => queue.add("c")).toThrow("maximum of 2 keys");
  queue.add("a");
  expect(queue.depth).toBe(2);
});

test("a delayed key that finds the queue full is not lost", async () => {
  const clock = new ManualClock();
  const queue = new WorkQueue({ clock, maxKeys: 1 });
  queue.addAfter("late", 10);
  queue.add("a");
  await clock.advance(10);
  await queue.take(never);
  await clock.advance(1000);
  expect(await queue.take(never)).toBe("late");
});

test("an aborted take rejects and swallows no key", async () => {
  const queue = new WorkQueue();
  const abort = new AbortController();
  const taking = queue.take(abort.signal);
  abort.abort(new Error("stop"));
  await expect(taking).rejects.toThrow("stop");
  queue.add("a");
  expect(await queue.take(never)).toBe("a");
});

test("closing cancels every delay", async () => {
  const clock = new ManualClock();
  const queue = new WorkQueue({ clock });
  queue.addAfter("a", 10);
  queue.close();
  await clock.advance(100);
  expect(queue.depth).toBe(0);
  expect(clock.sleepers).toBe(0);
});

test("no two workers ever hold one key, and no key that was added is forgotten", async () => {
  const step = fc.oneof(
    fc.record({ do: fc.constant("add" as const), key: fc.integer({ min: 0, max: 4 }) }),
    fc.record({ do: fc.constant("later" as const), key: fc.integer({ min: 0, max: 4 }) }),
    fc.record({ do: fc.constant("finish" as const), key: fc.integer({ min: 0, max: 2 }) }),
    fc.record({ do: fc.constant("wait" as const), key: fc.integer({ min: 1, max: 500 }) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const clock = new ManualClock();
      const queue = new WorkQueue({ clock });
      const held: string[] = [];
      const pending = new Set<string>();
      const worker = async () => {
        const key = await queue.take(never);
        expect(held).not.toContain(key);
        held.push(key);
        pending.delete(key);
      };
      const workers = [worker(), worker(), worker()];
      const finish = (index: number) => {
        const [key] = held.splice(index, 1);
        if (key === undefined) return;
        queue.done(key);
        workers.push(worker());
      };
      for (const { do: what, key } of steps) {
        if (what === "wait") await clock.advance(key);
        else if (what === "finish") finish(key);
        else {
          pending.add(String(key));
          if (what === "add") queue.add(String(key));
          else queue.addAfter(String(key), key * 100);
        }
        await settled();
      }
      await clock.advance(10_000);
      while (held.length > 0) {
        finish(0);
        await settled();
      }
      expect([...pending]).toEqual([]);
    }),
    { numRuns: 300 },
  );
});
