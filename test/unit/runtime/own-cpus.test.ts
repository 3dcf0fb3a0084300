import fc from "fast-check";
import { expect, test } from "vitest";
import { parseCpuList, splitCpus } from "#runtime/own-cpus.ts";

const list = (length: number) => Array.from({ length }, (_, cpu) => cpu * 2);

test.each([
  ["no limit", 2, undefined],
  ["one CPU", 1, 0.2],
  ["a limit that needs all", 2, 1.5],
  ["a limit that needs all", 4, 4],
  ["CPUs that are not known", 0, 0.5],
])("%s (%i CPUs, limit %s): they are shared", (_, cpus, quota) => {
  expect(splitCpus({ allowed: list(cpus), quota, podUid: "a" })).toBeUndefined();
});

test("elsewhere each CPU is the bridge's or the agent's, who can still use its whole limit", () => {
  const facts = fc.record({
    count: fc.integer({ min: 2, max: 96 }),
    share: fc.double({ min: 0.01, max: 1, noNaN: true }),
    podUid: fc.uuid(),
  });
  fc.assert(
    fc.property(facts, ({ count, share, podUid }) => {
      const allowed = list(count);
      const quota = share * (count - 1);
      const split = splitCpus({ allowed, quota, podUid });
      const [bridge = [], agent = []] = [split?.bridge, split?.agent].map((cpus) =>
        parseCpuList(cpus ?? ""),
      );
      expect([...bridge, ...agent].sort((a, b) => a - b)).toEqual(allowed);
      expect(agent.length).toBeGreaterThanOrEqual(Math.max(quota, 1));
      expect(bridge.length).toBeGreaterThanOrEqual(1);
      expect(bridge.length).toBeLessThanOrEqual(Math.max(1, count / 4));
    }),
  );
});

test("sessions do not all put their agents on the same CPU", () => {
  const seats = list(40).map((n) => splitCpus({ allowed: [0, 1], quota: 0.5, podUid: `uid-${n}` }));
  expect(new Set(seats.map((split) => split?.agent))).toEqual(new Set(["0", "1"]));
});

test("a list of CPUs is read as the kernel writes it", () => {
  expect(parseCpuList("0-2,7")).toEqual([0, 1, 2, 7]);
  expect(parseCpuList("")).toEqual([]);
});
