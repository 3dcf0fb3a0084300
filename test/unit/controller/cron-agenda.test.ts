import fc from "fast-check";
import { expect, test } from "vitest";
import { Agenda } from "#controller/cron/agenda.ts";
import { ManualClock, settled } from "../../support/manual-clock.ts";

function started(clock = new ManualClock()) {
  const told: string[] = [];
  const stop = new AbortController();
  const agenda = new Agenda((key) => told.push(key), clock);
  const ended = agenda.run(stop.signal);
  const end = async () => {
    stop.abort();
    await ended;
  };
  return { agenda, clock, told, end };
}

test("keys are told when their time has come, in its order, with one timer for all", async () => {
  const { agenda, clock, told, end } = started();
  const startMs = clock.now();
  agenda.set("b", startMs + 2000);
  agenda.set("c", startMs + 90_000);
  agenda.set("a", startMs + 1000);
  await settled();
  expect(clock.sleepers).toBe(1);
  await clock.advance(999);
  expect(told).toEqual([]);
  await clock.advance(1);
  expect(told).toEqual(["a"]);
  await clock.advance(89_000);
  expect(told).toEqual(["a", "b", "c"]);
  expect(agenda.size).toBe(0);
  await end();
  expect(clock.sleepers).toBe(0);
});

test("a key that is set again or deleted has only its newest time", async () => {
  const { agenda, clock, told, end } = started();
  const startMs = clock.now();
  agenda.set("moved", startMs + 1000);
  agenda.set("moved", startMs + 5000);
  agenda.set("gone", startMs + 1000);
  agenda.delete("gone");
  await clock.advance(4999);
  expect(told).toEqual([]);
  await clock.advance(1);
  expect(told).toEqual(["moved"]);
  await end();
});

test("a clock that was set is seen within half a minute, and nothing is told too early", async () => {
  let shiftMs = 0;
  const inner = new ManualClock();
  const clock = Object.assign(Object.create(inner) as ManualClock, {
    now: () => inner.now() + shiftMs,
    sleep: (ms: number, signal?: AbortSignal) => inner.sleep(ms, signal),
  });
  const { agenda, told, end } = started(clock);
  const startMs = clock.now();
  agenda.set("hour", startMs + 3_600_000);
  await settled();
  shiftMs = 3_600_000;
  await inner.advance(30_000);
  expect(told).toEqual(["hour"]);
  agenda.set("minute", clock.now() + 60_000);
  await settled();
  shiftMs = 0;
  await inner.advance(120_000);
  expect(told).toEqual(["hour"]);
  await end();
});

test("many random entries are told in order and each once", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(40), fc.nat(100_000)), { maxLength: 400 }),
      async (changes) => {
        const { agenda, clock, told, end } = started();
        const startMs = clock.now();
        const wanted = new Map<string, number>();
        for (const [key, atMs] of changes) {
          agenda.set(`k${key}`, startMs + 1 + atMs);
          wanted.set(`k${key}`, atMs);
        }
        await clock.advance(100_001);
        expect(told.toSorted()).toEqual([...wanted.keys()].sort());
        const times = told.map((key) => wanted.get(key) ?? 0);
        expect(times).toEqual(times.toSorted((a, b) => a - b));
        await end();
      },
    ),
    { numRuns: 50 },
  );
});
