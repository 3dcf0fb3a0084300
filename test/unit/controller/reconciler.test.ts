import { afterEach, expect, test } from "vitest";
import { KubeError } from "#cluster/kube-error.ts";
import { Metrics } from "#controller/metrics.ts";
import {
  type Outcome,
  PausedError,
  startReconciler,
  TerminalError,
} from "#controller/reconciler.ts";
import { silentLogger } from "#lib/logger.ts";
import { WorkQueue } from "#lib/workqueue.ts";
import { ManualClock, settled } from "../../support/manual-clock.ts";

let stop = new AbortController();
afterEach(() => {
  stop.abort();
  stop = new AbortController();
});

/** One key that is reconciled by `answer`; when it was, in ms since the start. */
async function reconciled(answer: () => Outcome): Promise<{ clock: ManualClock; at: number[] }> {
  const clock = new ManualClock();
  const queue = new WorkQueue({ clock });
  const startMs = clock.now();
  const at: number[] = [];
  const metrics = new Metrics({ lease: "x", isLeader: () => true }).kind("test", queue);
  const reconcile = async () => {
    at.push(clock.now() - startMs);
    return answer();
  };
  const logger = silentLogger();
  startReconciler(
    { name: "test", queue, reconcile, workers: 4, metrics, logger, clock },
    stop.signal,
  );
  queue.add("default/main");
  await settled();
  return { clock, at };
}

const throwing = (error: Error) => () => {
  throw error;
};
const failure = (status: number, retryAfterMs?: number) =>
  new KubeError({ call: "x", status, ...(retryAfterMs ? { retryAfterMs } : {}) });

test("what only people can change is looked at three times an hour at most, until it changes", async () => {
  const { clock, at } = await reconciled(throwing(new TerminalError("InvalidInput", "no")));
  await clock.advance(3_600_000);
  expect(at.length).toBeLessThanOrEqual(3);
});

test("what waits for something else is looked at again after its time, without back-off", async () => {
  const { clock, at } = await reconciled(throwing(new PausedError("quota", 30_000)));
  await clock.advance(120_000);
  expect(at).toEqual([0, 30_000, 60_000, 90_000, 120_000]);
});

test("while the API server is away nobody waits for more than five seconds beyond its return", async () => {
  const { clock, at } = await reconciled(throwing(failure(503)));
  await clock.advance(600_000);
  const gaps = at.slice(1).map((ms, i) => ms - (at[i] ?? 0));
  expect(Math.max(...gaps)).toBeLessThanOrEqual(5000);
  // Not hot either.
  expect(at.length).toBeLessThan(140);
});

test("a Retry-After is honoured", async () => {
  const { clock, at } = await reconciled(throwing(failure(429, 20_000)));
  await clock.advance(100_000);
  expect(at).toEqual([0, 20_000, 40_000, 60_000, 80_000, 100_000]);
});

test("an own defect is tried again with a back-off that grows", async () => {
  const { clock, at } = await reconciled(throwing(new Error("defect")));
  await clock.advance(3_600_000);
  expect(at.length).toBeGreaterThan(10);
  expect(at.length).toBeLessThan(30);
});
