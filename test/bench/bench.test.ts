import { execFileSync } from "node:child_process";
import { cpus } from "node:os";
import { expect, test } from "vitest";
import { checkRelay } from "./relay/check-relay.ts";
import { type Candidate, runLoad } from "./relay/load.ts";
import { startBaseline, startFloor } from "./relay/peers.ts";
import { buildPrograms } from "./relay/programs.ts";
import { row } from "./relay/report.ts";
import { foreignShare, rounds } from "./relay/rounds.ts";
import { ratios, relativeSpread, spread } from "./relay/statistics.ts";

/** The harness needs a C compiler, `taskset` and a core for each side. */
function usable(): boolean {
  try {
    execFileSync("cc", ["--version"], { stdio: "ignore" });
    execFileSync("taskset", ["--version"], { stdio: "ignore" });
    return cpus().length >= 2;
  } catch {
    return false;
  }
}

const here = test.skipIf(!usable());

async function withCandidate<T>(
  candidate: Promise<Candidate>,
  use: (candidate: Candidate) => Promise<T>,
): Promise<T> {
  const started = await candidate;
  try {
    return await use(started);
  } finally {
    await started.stop();
  }
}

test("medians, spreads and ratios of pairs", () => {
  expect(spread([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3, count: 3 });
  expect(spread([4, 1, 2, 3]).median).toBe(2.5);
  expect(relativeSpread(spread([8, 10, 12]))).toBe(0.2);
  expect(ratios([2, 9], [1, 3])).toEqual({ median: 2.5, min: 2, max: 3, count: 2 });
});

test("a figure beside foreign load, or over an unsteady baseline, is void", () => {
  const run = (foreignNs: number) => ({ wallNs: 100, foreignNs }) as never;
  const target = { goal: "G", what: "w", atMost: 2 };
  const calm = row(target, spread([1]), new Map([["a", [run(5)]]]), spread([9, 10, 11]));
  expect(calm).toMatchObject({ met: true, voided: undefined });
  const loud = row(target, spread([3]), new Map([["a", [run(5), run(30)]]]));
  expect(loud).toMatchObject({ met: false, voided: "foreign CPU 30 %" });
  const shaky = row(target, spread([1]), new Map(), spread([5, 10, 15]));
  expect(shaky.voided).toBe("baseline spread ±50 %");
  expect(foreignShare(run(20))).toBe(0.2);
});

here("the check passes a right relay and fails the naive one", async () => {
  const programs = await buildPrograms();
  await withCandidate(startFloor(programs), (floor) => checkRelay(floor, 40));
  await withCandidate(startBaseline("plain"), (plain) => checkRelay(plain, 40));
  const wrong = withCandidate(startBaseline("naive"), (naive) => checkRelay(naive, 40));
  await expect(wrong).rejects.toThrow("differs");
});

here("the load counts lines, delays and losses, and repeats in turn", async () => {
  const { load, floor } = await buildPrograms();
  await withCandidate(startFloor({ load, floor, stub: "" }), async (relay) => {
    const bench = { load, repetitions: 2, quick: true, say: () => undefined };
    const times = { warmMs: 50, runMs: 100 };
    const runs = await rounds(bench, [relay], { mode: "down", clients: 2, ...times });
    expect(runs.get(relay.name)).toHaveLength(2);
    for (const { lines, relayCpuNs } of runs.get(relay.name) ?? []) {
      expect(lines).toBeGreaterThan(0);
      expect(relayCpuNs).toBeGreaterThan(0);
    }
    const paced = await runLoad(load, relay, { mode: "paced", clients: 5, rate: 50, ...times });
    expect(paced).toMatchObject({ lost: 0 });
    expect(paced.p99Ns).toBeGreaterThanOrEqual(paced.p50Ns);
    const echo = await runLoad(load, relay, { mode: "echo", clients: 3, window: 4, ...times });
    expect(echo.lines).toBeGreaterThan(0);
  });
});

here("the load says what went wrong", async () => {
  const { load } = await buildPrograms();
  const nobody: Candidate = {
    name: "nobody",
    pids: [],
    settings: () => Promise.resolve({ front: "127.0.0.1:9" }),
    stop: () => Promise.resolve(),
  };
  await expect(runLoad(load, nobody, { mode: "down" })).rejects.toThrow("cannot connect");
});
