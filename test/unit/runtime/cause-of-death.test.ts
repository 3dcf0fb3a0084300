import { expect, test } from "vitest";
import { causeOfDeath, outOfMemory, pidLimitKill, refuseTurns } from "#runtime/status.ts";

type Facts = Parameters<typeof causeOfDeath>[1];

const calm: Facts = {
  install: { state: "none" },
  sample: { pidLimitHits: 0 },
  killed: undefined,
  failure: undefined,
};
const full = { used: 95, limit: 100 };
const killed = pidLimitKill({ pids: { used: 256, limit: 256 }, pidLimitHits: 0 }, 1);
const starved = outOfMemory({ memory: { used: 1, limit: 512 * 2 ** 20 }, pidLimitHits: 0 }, 1);
const failed = { state: "failed" as const, reason: "it exited with 1" };
const hot = { state: "hot" as const, reason: undefined };

test.each<[string, Parameters<typeof causeOfDeath>[0], Partial<Facts>, boolean]>([
  ["Stopped", hot, {}, false],
  ["Stopped", hot, { killed }, true],
  ["Stopped", { state: "parked", reason: undefined }, { failure: "x" }, false],
  ["InstallFailed", failed, { install: { state: "failed" } }, false],
  ["AppServerFailed", failed, {}, false],
  ["AppServerFailed", failed, { killed }, true],
  ["DiskFull", failed, { sample: { disk: full, pidLimitHits: 0 } }, false],
  ["PidLimit", failed, { sample: { pidLimitHits: 3 } }, true],
  ["PidLimit", { state: "starting", reason: killed.message }, { killed }, true],
  ["PidLimit", { state: "failed", reason: killed.message }, { killed }, true],
  ["OOMKilled", { state: "failed", reason: starved.message }, { killed: starved }, false],
  ["AppServerFailed", failed, { killed: starved }, false],
  ["BridgeFailed", failed, { failure: "no keys" }, false],
])("%s: %o", (reason, last, facts, pidLimitHit) => {
  const cause = causeOfDeath(last, { ...calm, ...facts });
  expect(cause).toMatchObject({ reason, pidLimitHit });
  if (last === failed) expect(cause.message).toBe("it exited with 1");
});

test.each([
  [94.9, undefined],
  [95, "diskFull"],
])("a disk that is %s %% full: new turns are refused with %s", (used, reason) => {
  const sample = { disk: { used, limit: 100 }, pidLimitHits: 0 };
  expect(refuseTurns(false, sample)?.reason).toBe(reason);
  expect(refuseTurns(true, sample)?.reason).toBe("draining");
});
