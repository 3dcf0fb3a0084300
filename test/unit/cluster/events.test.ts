import { expect, test } from "vitest";
import { EventRecorder } from "#cluster/events.ts";
import type { KubeClient, KubeObject, Resource } from "#cluster/types.ts";
import { silentLogger } from "#lib/logger.ts";
import { ManualClock } from "../../support/manual-clock.ts";

type Written = KubeObject & { message: string; count: number; reason: string };

function recorder() {
  const clock = new ManualClock();
  const writes: Written[] = [];
  const kube = {
    apply: async (_: Resource, object: KubeObject) => {
      writes.push(object as Written);
      return object;
    },
  } as unknown as KubeClient;
  const events = new EventRecorder({ kube, component: "test", logger: silentLogger(), clock });
  return { clock, writes, events };
}

async function record(events: EventRecorder, ...told: Parameters<EventRecorder["record"]>) {
  events.record(...told);
  await events.flushed();
}

const object = (name: string): KubeObject => ({
  apiVersion: "argus.dev/v1alpha1",
  kind: "ArgusSession",
  metadata: { name, namespace: "default", uid: name },
});

test("a crash loop of an hour costs one object at most forty writes, and no other object any", async () => {
  const { clock, writes, events } = recorder();
  for (let second = 0; second < 3600; second += 5) {
    await record(events, object("loop"), { reason: "Error", message: `the agent ended ${second}` });
    await record(events, object("loop"), { reason: "PodDeleted", message: "deleted Pod loop" });
    await clock.advance(5000);
  }
  const loop = writes.filter(({ metadata }) => metadata.name.startsWith("loop."));
  expect(loop.length).toBeLessThanOrEqual(40);
  expect(loop.length).toBeGreaterThan(25);
  await record(events, object("calm"), { reason: "PodCreated", message: "created" });
  expect(writes.at(-1)?.metadata.name).toMatch(/^calm\./);
});

test("a repeat raises the count of its event; many different ones of a reason become one", async () => {
  const { clock, writes, events } = recorder();
  for (let i = 0; i < 3; i += 1) {
    await record(events, object("a"), { reason: "Same", message: "again" });
    await clock.advance(1000);
  }
  expect(writes.map(({ count }) => count)).toEqual([1, 2, 3]);
  expect(new Set(writes.map(({ metadata }) => metadata.name)).size).toBe(1);
  writes.length = 0;
  for (let i = 0; i < 14; i += 1) {
    await record(events, object("b"), { reason: "Other", message: `number ${i}` });
  }
  const names = new Set(writes.map(({ metadata }) => metadata.name));
  expect(names.size).toBe(11);
  expect(writes.at(-1)).toMatchObject({ count: 4 });
  expect(writes.at(-1)?.message).toBe("(combined from similar events) number 13");
  // After ten minutes they are told one by one again.
  await clock.advance(601_000);
  await record(events, object("b"), { reason: "Other", message: "number 99" });
  expect(writes.at(-1)).toMatchObject({ count: 1, message: "number 99" });
});

test("an event that cannot be written fails nobody", async () => {
  const kube = { apply: () => Promise.reject(new Error("away")) } as unknown as KubeClient;
  const events = new EventRecorder({ kube, component: "test", logger: silentLogger() });
  await record(events, object("a"), { reason: "X", message: "y" });
});

test("nobody waits for an event; one that still waits is told once, with its newest count, and the oldest fall out", async () => {
  const writes: Written[] = [];
  const gate = Promise.withResolvers<void>();
  let under = 0;
  let most = 0;
  const kube = {
    apply: async (_: Resource, written: KubeObject) => {
      under += 1;
      most = Math.max(most, under);
      await gate.promise;
      under -= 1;
      writes.push(written as Written);
      return written;
    },
  } as unknown as KubeClient;
  const events = new EventRecorder({ kube, component: "test", logger: silentLogger() });
  events.record(object("first"), { reason: "X", message: "y" });
  for (let i = 0; i < 3; i += 1) events.record(object("again"), { reason: "X", message: "y" });
  gate.resolve();
  await events.flushed();
  expect(writes.map(({ metadata, count }) => `${metadata.name.split(".")[0]} ${count}`)).toEqual([
    "first 1",
    "again 3",
  ]);
  expect(most).toBe(1);
  for (let i = 0; i < 1500; i += 1) {
    events.record(object(`many-${i}`), { reason: "X", message: "y" });
  }
  await events.flushed();
  // The first was under way already.
  expect(writes.length).toBe(2 + 1 + 1000);
  expect(writes.at(-1)?.metadata.name).toMatch(/^many-1499/);
});
