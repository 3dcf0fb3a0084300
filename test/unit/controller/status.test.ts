import { expect, test } from "vitest";
import type { PodStatus } from "#cluster/core-types.ts";
import { buildClaims } from "#controller/session/claims.ts";
import { computeStatus, isUrgent, statusDiffers } from "#controller/session/status.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { BridgeStatus } from "#protocol/bridge.ts";
import { NOW, observedOf, podOf, sessionOf } from "../../support/sessions.ts";

const session = sessionOf();
const RUNNING = { state: { running: { startedAt: "2030-01-01T11:00:00Z" } } };
const running = (more: PodStatus = {}): PodStatus => ({
  phase: "Running",
  containerStatuses: [{ name: "agent", ...RUNNING }],
  ...more,
});
const ready = running({ conditions: [{ type: "Ready", status: "True" }], podIP: "10.0.0.1" });
const bridgeOf = (more: Partial<BridgeStatus> = {}): BridgeStatus =>
  BridgeStatus.parse({
    boot: "b",
    seq: 1,
    state: "hot",
    peers: 0,
    busyThreads: 0,
    openApprovals: 0,
    restarts: 0,
    garbageLines: 0,
    install: { state: "none" },
    pidIsolation: "UniqueUid",
    ...more,
  });

/** `True DependenciesReady` of one condition. */
function said(type: string, ...args: Parameters<typeof observedOf>): string {
  const status = computeStatus(observedOf(...args), undefined, NOW);
  const found = status.conditions?.find((each) => each.type === type);
  return found ? `${found.status} ${found.reason}` : "absent";
}

const waiting = (reason: string): PodStatus => ({
  containerStatuses: [{ name: "agent", state: { waiting: { reason, message: "why" } } }],
});

test.each<[string, PodStatus]>([
  ["False DependenciesNotReady", {}],
  ["False DependenciesNotReady", waiting("ContainerCreating")],
  ["False ImagePullFailed", waiting("ErrImagePull")],
  ["False ImagePullFailed", waiting("ImagePullBackOff")],
  ["False ImagePullFailed", waiting("InvalidImageName")],
  ["False CreateContainerConfigError", waiting("CreateContainerConfigError")],
  ["False CrashLoopBackOff", waiting("CrashLoopBackOff")],
  ["False Unschedulable", { conditions: [{ type: "PodScheduled", status: "False" }] }],
  ["False NodeLost", running({ conditions: [{ type: "Ready", status: "Unknown" }] })],
  ["False BridgeNotReady", running()],
  ["True DependenciesReady", ready],
])("Ready is %s", (wanted, status) => {
  expect(said("Ready", session, { pod: podOf(session, status) })).toBe(wanted);
});

test("Ready names suspension, deletion, surplus pods and an unreadable state first", () => {
  const pod = podOf(session, ready);
  const asleep = sessionOf({ operatingMode: "Suspended" });
  expect(said("Ready", asleep, { pod })).toBe("False SessionSuspended");
  expect(said("Suspended", asleep, { pod })).toBe("False Suspending");
  const going = {
    ...pod,
    metadata: { ...pod.metadata, deletionTimestamp: "2030-01-01T11:59:00Z" },
  };
  expect(said("Suspended", asleep, { pod: going })).toBe("False PodTerminating");
  const lost = podOf(asleep, running({ conditions: [{ type: "Ready", status: "Unknown" }] }));
  expect(said("Suspended", asleep, { pod: lost })).toBe("Unknown PodStateUnknown");
  const foreign = { ...pod, metadata: { ...pod.metadata, ownerReferences: [] } };
  expect(said("Suspended", asleep, { pod: foreign })).toBe("False PodNotOwned");
  expect(said("Suspended", asleep)).toBe("True PodTerminated");
  expect(said("Suspended", session, { pod })).toBe("False NotSuspended");
  const metadata = { ...session.metadata, deletionTimestamp: "2030-01-01T11:59:00Z" };
  expect(said("Ready", { ...session, metadata }, { pod })).toBe("False DependenciesNotReady");
  expect(said("Ready", session, { pod, extraPods: ["x"] })).toBe("False MultiplePods");
  const unreadable = {
    type: "StateReadable",
    status: "False" as const,
    reason: "Corrupt",
    message: "bad",
    lastTransitionTime: "2030-01-01T11:00:00Z",
  };
  const broken = sessionOf({}, { status: { conditions: [unreadable] } });
  expect(said("Ready", broken, { pod: podOf(broken, ready) })).toBe("False StateUnreadable");
});

test.each([
  ["fast", "StorageClass fast is missing"],
  [undefined, "no default one"],
])(
  "a claim that nobody provides is named with its StorageClass (%s)",
  (storageClassName, words) => {
    const message = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.";
    const pod = podOf(session, {
      conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable", message }],
    });
    const [made] = buildClaims(session);
    if (!made) throw new Error("no claim");
    const spec = { ...made.spec, ...(storageClassName ? { storageClassName } : {}) };
    const claim = { ...made, spec, status: { phase: "Pending" } };
    const claims = new Map([[made.metadata.name, claim]]);
    const unbound = { claim, words: "the binder's words" };
    const observed = observedOf(session, { pod, claims, unbound });
    const { conditions } = computeStatus(observed, undefined, NOW);
    expect(conditions?.[0]).toMatchObject({
      type: "Ready",
      status: "False",
      reason: "Unschedulable",
    });
    expect(conditions?.[0]?.message).toContain("PersistentVolumeClaim default/workspace-main-");
    expect(conditions?.[0]?.message).toContain(words);
    expect(conditions?.[0]?.message).toContain("is not bound (the binder's words): ");
    // For want of a node, the claim is not to blame.
    const full = podOf(session, {
      conditions: [
        { type: "PodScheduled", status: "False", message: "0/1 nodes: Insufficient cpu" },
      ],
    });
    const other = computeStatus(observedOf(session, { pod: full, claims }), undefined, NOW);
    expect(other.conditions?.[0]?.message).toContain("Insufficient cpu");
  },
);

test("Ready carries the bridge's warning to where a person looks", () => {
  const bridge = bridgeOf({ warning: "No working sandbox" });
  const pod = podOf(session, ready);
  const { conditions } = computeStatus(observedOf(session, { pod, bridge }), undefined, NOW);
  expect(conditions?.[0]).toMatchObject({ status: "True", type: "Ready" });
  expect(conditions?.[0]?.message).toMatch(/reaches the agent\. No working sandbox$/);
});

test("a problem of the plan is what Ready says", () => {
  const problem = { reason: "QuotaExceeded", message: "pod default/main: raise it" };
  const { conditions } = computeStatus(observedOf(session), problem, NOW);
  expect(conditions?.[0]).toMatchObject({ type: "Ready", status: "False", ...problem });
});

test.each<[string, PodStatus, Partial<BridgeStatus> | undefined]>([
  ["False PodNotRunning", {}, undefined],
  ["False AppServerStarting", running(), undefined],
  ["False AppServerStarting", running(), { state: "installing" }],
  ["False AppServerNotResponding", running(), { state: "failed", reason: "exit 1" }],
  ["False ClockSkew", running(), { clockSkewMs: 90_000 }],
  ["True AppServerResponding", ready, { state: "hot" }],
  ["True Parked", ready, { state: "parked" }],
])("BridgeReady is %s", (wanted, status, bridge) => {
  const more = bridge ? { bridge: bridgeOf(bridge) } : {};
  expect(said("BridgeReady", session, { pod: podOf(session, status), ...more })).toBe(wanted);
});

test("a failed install shows its last 20 lines", () => {
  const installing = sessionOf({ runtime: { install: "false" } });
  const tail = Array.from({ length: 40 }, (_, i) => `line ${i}`).join("\n");
  const bridge = bridgeOf({ state: "failed", install: { state: "failed", tail } });
  const pod = podOf(installing, running());
  const { conditions } = computeStatus(observedOf(installing, { pod, bridge }), undefined, NOW);
  const found = conditions?.find(({ type }) => type === "RuntimeInstalled");
  expect(found).toMatchObject({ status: "False", reason: "InstallFailed" });
  expect(found?.message).toContain("line 39");
  expect(found?.message).not.toContain("line 19\n");
  expect(conditions?.[0]?.message).toContain("RuntimeInstalled");
});

test("pressures follow the bridge's gauges without naming numbers", () => {
  const pod = podOf(session, ready);
  const bridge = bridgeOf({
    pids: { used: 250, limit: 256 },
    memory: { used: 1, limit: 100 },
    pidIsolation: "Degraded",
  });
  expect(said("PidPressure", session, { pod, bridge })).toBe("True AboveThreshold");
  expect(said("MemoryPressure", session, { pod, bridge })).toBe("False BelowThreshold");
  expect(said("DiskPressure", session, { pod, bridge })).toBe("absent");
  expect(said("PidIsolation", session, { pod, bridge })).toBe("False Degraded");
});

test("what only the bridge knows is kept while it is silent and dropped with the pod", () => {
  const pod = podOf(session, ready);
  const bridge = bridgeOf();
  const before = computeStatus(observedOf(session, { pod, bridge }), undefined, NOW);
  const later = sessionOf({}, { status: before });
  expect(said("PidIsolation", later, { pod: podOf(later, ready) })).toBe("True UniqueUid");
  expect(said("PidIsolation", later)).toBe("absent");
});

test("the same observation gives the same bytes, whatever the time", () => {
  const pod = podOf(session, ready);
  const first = computeStatus(observedOf(session, { pod, bridge: bridgeOf() }), undefined, NOW);
  const written = sessionOf({}, { status: first });
  const second = computeStatus(
    observedOf(written, { pod, bridge: bridgeOf() }),
    undefined,
    new Date("2031-01-01T00:00:00Z"),
  );
  expect(JSON.stringify(second)).toBe(JSON.stringify(first));
  expect(statusDiffers(written, second)).toBe(false);
});

test("the gateway's part of the status makes no difference", () => {
  const pod = podOf(session, ready);
  const status = computeStatus(observedOf(session, { pod }), undefined, NOW);
  const foreign = {
    type: "LaneProgressing",
    status: "True" as const,
    reason: "Idle",
    message: "",
    lastTransitionTime: "2030-01-01T11:00:00Z",
  };
  const both = { ...status, activity: { demand: "Open" as const } };
  const merged = sessionOf(
    {},
    { status: { ...both, conditions: [foreign, ...(status.conditions ?? [])] } },
  );
  expect(statusDiffers(merged, computeStatus(observedOf(merged, { pod }), undefined, NOW))).toBe(
    false,
  );
});

test("every condition carries the generation that was acted on, and times move with the status alone", () => {
  const pod = podOf(session, ready);
  const first = computeStatus(observedOf(session), undefined, NOW);
  const written = sessionOf({}, { status: first });
  written.metadata.generation = 4;
  const later = new Date("2030-01-01T13:00:00Z");
  const next = computeStatus(observedOf(written, { pod }), undefined, later);
  expect(next.observedGeneration).toBe(4);
  expect(next.conditions?.every(({ observedGeneration }) => observedGeneration === 4)).toBe(true);
  const times = Object.fromEntries(
    (next.conditions ?? []).map(({ type, lastTransitionTime }) => [type, lastTransitionTime]),
  );
  expect(times.Ready).toBe("2030-01-01T13:00:00Z");
  expect(times.Suspended).toBe("2030-01-01T12:00:00Z");
});

test("steps of a start may wait, everything else may not", () => {
  const first = computeStatus(observedOf(session, { pod: podOf(session) }), undefined, NOW);
  const starting: ArgusSession = sessionOf({}, { status: first });
  const next = (status: PodStatus) =>
    computeStatus(observedOf(starting, { pod: podOf(starting, status) }), undefined, NOW);
  expect(isUrgent(session, first)).toBe(true);
  expect(isUrgent(starting, next(running()))).toBe(false);
  expect(isUrgent(starting, next(ready))).toBe(true);
  expect(isUrgent(starting, next(waiting("ErrImagePull")))).toBe(true);
});

test("the cause of death is what the kernel, the bridge and the kubelet say, in this order", () => {
  const ended = (terminated: object): PodStatus => ({
    containerStatuses: [
      {
        name: "agent",
        ...RUNNING,
        lastState: {
          terminated: { exitCode: 1, finishedAt: "2030-01-01T11:30:00Z", ...terminated },
        },
      },
    ],
  });
  const of = (status: PodStatus, from: ArgusSession = session) =>
    computeStatus(observedOf(from, { pod: podOf(from, status) }), undefined, NOW).lastTermination;
  const told = JSON.stringify({ reason: "PidLimit", message: "256 processes", pidLimitHit: true });
  expect(of(ended({ message: told, reason: "Error" }))).toEqual({
    reason: "PidLimit",
    exitCode: 1,
    pidLimitHit: true,
    finishedAt: "2030-01-01T11:30:00Z",
    message: "256 processes",
  });
  expect(of(ended({ reason: "OOMKilled", exitCode: 137, message: told }))).toMatchObject({
    reason: "OOMKilled",
    oomKilled: true,
  });
  expect(of(ended({ reason: "Error", message: "not json" }))).toMatchObject({
    reason: "Error",
    message: "not json",
  });
  const evicted = of({ phase: "Failed", reason: "Evicted", message: "disk" });
  expect(evicted).toEqual({ reason: "Evicted", message: "disk" });
  const known = sessionOf({}, { status: { lastTermination: { reason: "Old" } } });
  expect(of(running(), known)).toEqual({ reason: "Old" });
  const newer = sessionOf(
    {},
    { status: { lastTermination: { reason: "New", finishedAt: "2030-01-01T11:45:00Z" } } },
  );
  expect(of(ended({ reason: "Error" }), newer)).toMatchObject({ reason: "New" });
});
