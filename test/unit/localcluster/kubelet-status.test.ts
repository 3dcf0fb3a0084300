import { expect, test } from "vitest";
import { limitFiles } from "#localcluster/kubelet/cgroup.ts";
import { isolationWarnings } from "#localcluster/kubelet/isolation.ts";
import type { ContainerState, Pod } from "#localcluster/kubelet/pod.ts";
import { parkRecords } from "#localcluster/kubelet/pod-end.ts";
import {
  firstProbeState,
  killsContainer,
  nextProbeState,
} from "#localcluster/kubelet/probe-state.ts";
import {
  HEALTHY_RUN_MS,
  nextCrashes,
  restartDelayMs,
  restarts,
} from "#localcluster/kubelet/restart.ts";
import { restoreRecords } from "#localcluster/kubelet/restore.ts";
import { whyNot } from "#localcluster/kubelet/schedule.ts";
import {
  type ContainerRecord,
  podPhase,
  podStatus,
  qosClass,
  unschedulable,
} from "#localcluster/kubelet/status.ts";

const NOW = Date.parse("2026-01-01T00:00:00Z");
const facts = { podIp: "127.77.0.9", hostIp: "127.0.0.1", nodeName: "local" };

const record = (state: ContainerState, more: Partial<ContainerRecord> = {}): ContainerRecord => ({
  name: "a",
  ready: false,
  started: false,
  restartCount: 0,
  state,
  lastState: {},
  ...more,
});
const waiting = record({ waiting: { reason: "ContainerCreating" } });
const running = record({ running: { startedAt: "2026-01-01T00:00:00Z" } });
const ended = (exitCode: number) =>
  record({ terminated: { exitCode, reason: exitCode ? "Error" : "Completed" } });

const pod = (spec: Partial<Pod["spec"]> = {}, status?: Pod["status"]): Pod => ({
  metadata: { name: "p", namespace: "ns", uid: "u" },
  spec: { containers: [{ name: "a", image: "i" }], ...spec },
  ...(status && { status }),
});

test("the phase follows policy, init containers and containers", () => {
  const cases: [string, ContainerRecord[], ContainerRecord[], string][] = [
    ["Always", [], [waiting], "Pending"],
    ["Always", [waiting], [waiting], "Pending"],
    ["Always", [ended(0)], [running], "Running"],
    ["Always", [], [ended(1)], "Running"],
    ["Always", [], [record(waiting.state, { lastState: ended(1).state })], "Running"],
    ["Never", [ended(1)], [waiting], "Failed"],
    ["Never", [], [ended(0)], "Succeeded"],
    ["Never", [], [ended(0), ended(2)], "Failed"],
    ["Never", [], [ended(0), running], "Running"],
    ["OnFailure", [], [ended(0)], "Succeeded"],
    ["OnFailure", [], [ended(2)], "Running"],
  ];
  for (const [policy, init, app, phase] of cases) expect(podPhase(policy, init, app)).toBe(phase);
});

test("conditions say what is missing and keep their time while they stand", () => {
  const input = { pod: pod(), facts, init: [], app: [running], startedMs: NOW };
  const first = podStatus(input, NOW);
  const find = (status: typeof first, type: string) =>
    status.conditions.find((condition) => condition.type === type);
  expect(find(first, "Ready")).toMatchObject({
    status: "False",
    reason: "ContainersNotReady",
    message: "containers with unready status: [a]",
  });
  expect(find(first, "Initialized")).toMatchObject({ status: "True" });
  const app = [{ ...running, ready: true, started: true }];
  const second = podStatus({ ...input, pod: pod({}, first), app }, NOW + 60_000);
  expect(find(second, "Ready")).toEqual({
    type: "Ready",
    status: "True",
    lastTransitionTime: "2026-01-01T00:01:00Z",
  });
  expect(find(second, "PodScheduled")?.lastTransitionTime).toBe("2026-01-01T00:00:00Z");
  expect(second).toMatchObject({
    phase: "Running",
    podIP: "127.77.0.9",
    startTime: "2026-01-01T00:00:00Z",
    containerStatuses: [{ name: "a", image: "i", ready: true, started: true }],
  });
  expect("initContainerStatuses" in second).toBe(false);
});

test("a pod without its claim is Pending and says which", () => {
  expect(unschedulable(pod(), 'persistentvolumeclaim "c" not found', NOW)).toMatchObject({
    phase: "Pending",
    conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable" }],
  });
});

test("a node takes a bounded number of pods, and none whose claim is missing", () => {
  const cache = (items: Pod[]) => ({ list: () => items, get: () => undefined }) as never;
  const here = pod({ nodeName: "local" });
  const done: Pod = { ...here, status: { phase: "Failed", conditions: [] } };
  const claims = cache([]);
  const fill = (items: Pod[]) => whyNot(pod(), { claims, pods: cache(items) });
  expect(fill(Array.from({ length: 249 }, () => here))).toBeUndefined();
  expect(fill(Array.from({ length: 250 }, () => here))).toContain("Too many pods");
  expect(fill(Array.from({ length: 250 }, () => done))).toBeUndefined();
  const volumes = [{ name: "v", persistentVolumeClaim: { claimName: "c" } }];
  expect(whyNot(pod({ volumes }), { claims, pods: cache([]) })).toContain('"c" not found');
});

test("quality of service", () => {
  const both = { cpu: "1", memory: "1Gi" };
  expect(qosClass([{ name: "a" }])).toBe("BestEffort");
  expect(qosClass([{ name: "a", resources: { limits: both } }])).toBe("Guaranteed");
  expect(qosClass([{ name: "a", resources: { limits: both, requests: { cpu: "500m" } } }])).toBe(
    "Burstable",
  );
});

test("a probe turns only after a threshold in a row", () => {
  const probe = { successThreshold: 2, failureThreshold: 3 };
  const play = (results: string) =>
    results.split("").map((each) => {
      state = nextProbeState(state, probe, each === "+");
      return state.ok;
    });
  let state = firstProbeState("readiness");
  expect(play("+-++--+---+")).toEqual([0, 0, 0, 1, 1, 1, 1, 1, 1, 0, 0].map(Boolean));
  state = firstProbeState("liveness");
  expect(play("--")).toEqual([true, true]);
  expect(killsContainer("liveness", state, probe)).toBe(false);
  play("-");
  expect(killsContainer("liveness", state, probe)).toBe(true);
  expect(killsContainer("readiness", state, probe)).toBe(false);
});

test("restarts by policy, with a growing pause that a healthy run clears", () => {
  expect(restarts("Always", { exitCode: 0, init: false })).toBe(true);
  expect(restarts("Always", { exitCode: 0, init: true })).toBe(false);
  expect(restarts("Always", { exitCode: 1, init: true })).toBe(true);
  expect(restarts("OnFailure", { exitCode: 0, init: false })).toBe(false);
  expect(restarts("OnFailure", { exitCode: 1, init: false })).toBe(true);
  expect(restarts("Never", { exitCode: 1, init: false })).toBe(false);
  const delays = [1, 2, 3, 9, 10, 1000].map(restartDelayMs);
  expect(delays).toEqual([1000, 2000, 4000, 256_000, 300_000, 300_000]);
  expect(nextCrashes(4, 1000)).toBe(5);
  expect(nextCrashes(4, HEALTHY_RUN_MS)).toBe(1);
});

const restoredFrom = (
  state: ContainerState,
  policy: "Always" | "OnFailure" | "Never",
  lost = false,
) => {
  const status = podStatus(
    {
      pod: pod(),
      facts,
      init: [],
      app: [record(state, { restartCount: 2 })],
      startedMs: NOW,
    },
    NOW,
  );
  const set = new Set(lost ? ["a"] : []);
  return restoreRecords({ pod: pod({ restartPolicy: policy }, status), lost: set }, NOW).app[0];
};

test("a run that a crash cut off is counted, one that was parked is not", () => {
  expect(restoredFrom(running.state, "Always")).toMatchObject({
    restartCount: 3,
    state: { waiting: { reason: "ContainerCreating" } },
    lastState: { terminated: { exitCode: 137, reason: "ContainerStatusUnknown" } },
  });
  const parked = record(running.state, { restartCount: 2 });
  parkRecords(pod(), [parked]);
  expect(restoredFrom(parked.state, "Always")).toMatchObject({ restartCount: 2, lastState: {} });
  expect(restoredFrom({ waiting: { reason: "CrashLoopBackOff" } }, "Always")?.restartCount).toBe(3);
});

test("what must run once does not run again after a crash", () => {
  expect(restoredFrom(running.state, "Never")?.state.terminated?.exitCode).toBe(137);
  expect(restoredFrom(waiting.state, "Never", true)?.state.terminated?.exitCode).toBe(137);
  expect(restoredFrom(ended(0).state, "OnFailure")?.state.terminated?.exitCode).toBe(0);
  const never = record(ended(143).state);
  parkRecords(pod({ restartPolicy: "Never" }), [never]);
  expect(never.state.terminated?.exitCode).toBe(143);
});

test("limits become the files of either cgroup version", () => {
  const resources = { limits: { memory: "64Mi", cpu: "500m", pids: "100" } };
  expect(limitFiles(2, resources)).toEqual({
    "pids.max": "100",
    "memory.max": String(64 * 2 ** 20),
    "memory.oom.group": "1",
    "cpu.max": "50000 100000",
  });
  expect(limitFiles(1, resources)).toEqual({
    "pids.max": "100",
    "memory.limit_in_bytes": String(64 * 2 ** 20),
    "cpu.cfs_period_us": "100000",
    "cpu.cfs_quota_us": "50000",
  });
  expect(limitFiles(2, {})).toEqual({ "pids.max": "4096" });
});

test("each protection that is missing is said", () => {
  const best = { platform: "linux", users: true, root: true, limits: true };
  expect(isolationWarnings(best)).toHaveLength(1);
  expect(isolationWarnings({ ...best, users: false, limits: false })).toHaveLength(3);
  expect(isolationWarnings({ ...best, platform: "darwin" }).join()).toContain("127.0.0.1");
});
