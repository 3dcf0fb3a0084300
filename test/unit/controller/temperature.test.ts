import fc from "fast-check";
import { expect, test } from "vitest";
import type { Pod, PodStatus } from "#cluster/core-types.ts";
import { plan } from "#controller/session/plan.ts";
import { computeStatus, isUrgent } from "#controller/session/status.ts";
import { wanted } from "#controller/session/temperature.ts";
import type { ArgusSessionSpecInput, ArgusSessionStatus } from "#crds/argus-session.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { LABEL } from "#protocol/pod.ts";
import { NOW, observedOf, podOf, SETTINGS, sessionOf } from "../../support/sessions.ts";

const at = (minutes: number) => new Date(NOW.getTime() + minutes * 60_000);
const iso = (minutes: number) => at(minutes).toISOString().replace(".000Z", "Z");
const idle = (more: object = {}): ArgusSessionSpecInput => ({
  idle: { suspendAfterSeconds: 600, ...more },
});
const none = (minutes: number): ArgusSessionStatus => ({
  activity: { demand: "None", since: iso(minutes) },
});
const open: ArgusSessionStatus = { activity: { demand: "Open", since: iso(-600) } };
const suspended = (minutes: number): ArgusSessionStatus => ({
  conditions: [
    {
      type: "Suspended",
      status: "True",
      reason: "PodTerminated",
      message: "",
      lastTransitionTime: iso(minutes),
    },
  ],
});
/** A pod of the session that was made an hour ago. */
const warm = (session: ArgusSession, status: PodStatus = {}) => ({ pod: podOf(session, status) });

function sessionWith(
  spec: ArgusSessionSpecInput,
  status: ArgusSessionStatus = {},
  annotations: Record<string, string> = {},
): ArgusSession {
  const session = sessionOf(spec, { status });
  return { ...session, metadata: { ...session.metadata, annotations } };
}

/** `Running 60`, `Suspended Idle`, `Finished SessionExpired`. */
function want(session: ArgusSession, more: { pod?: Pod } = {}, minutes = 0): string {
  const found = wanted(observedOf(session, more), at(minutes));
  if (found.state === "Suspended") return `Suspended ${found.by}`;
  if (found.state === "Finished") return `Finished ${found.reason}`;
  return found.changesInMs === undefined ? "Running" : `Running ${found.changesInMs / 60_000}`;
}

test.each<[string, ArgusSessionSpecInput, ArgusSessionStatus]>([
  ["Running", {}, {}],
  ["Running", {}, none(-600)],
  ["Running", idle(), {}],
  ["Running", idle(), open],
  ["Running", idle(), { activity: { demand: "None" } }],
  ["Running 4", idle(), none(-6)],
  ["Suspended Idle", idle(), none(-10)],
  ["Suspended Person", { operatingMode: "Suspended" }, open],
  ["Suspended Person", { operatingMode: "Suspended", ...idle() }, none(-600)],
  ["Finished SessionExpired", { shutdownTime: iso(0) }, open],
  ["Finished SessionExpired", { shutdownTime: iso(-1), operatingMode: "Suspended" }, {}],
  ["Running 5", { shutdownTime: iso(5) }, {}],
  ["Running 4", { shutdownTime: iso(5), ...idle() }, none(-6)],
])("%s for %j with %j", (expected, spec, status) => {
  const session = sessionWith(spec, status);
  expect(want(session, warm(session))).toBe(expected);
});

test("without a pod demand wakes, unless only a person may", () => {
  expect(want(sessionWith(idle(), { ...open, ...suspended(-60) }))).toBe("Running");
  const alone = idle({ wakeOn: [] });
  expect(want(sessionWith(alone, { ...open, ...suspended(-60) }))).toBe("Suspended Idle");
  const restart = { [LABEL.restartAt]: iso(-1) };
  expect(want(sessionWith(alone, { ...open, ...suspended(-60) }, restart))).toBe("Running");
  const before = { [LABEL.restartAt]: iso(-61) };
  expect(want(sessionWith(alone, { ...open, ...suspended(-60) }, before))).toBe("Suspended Idle");
  // It never slept: its first start is nobody's waking.
  expect(want(sessionWith(alone, open))).toBe("Running");
});

test("a new session, a new pod and a restart are given their time", () => {
  const session = sessionWith(idle(), none(-600));
  expect(want(session)).toBe("Suspended Idle");
  const young = podOf(session);
  young.metadata.creationTimestamp = iso(-3);
  expect(want(session, { pod: young })).toBe("Running 7");
  expect(want(sessionWith(idle(), none(-600), { [LABEL.restartAt]: iso(-2) }))).toBe("Running 8");
  const born = { ...session, metadata: { ...session.metadata, creationTimestamp: iso(-1) } };
  expect(want(born)).toBe("Running 9");
});

test("a pod that may end is finished, also when its object is gone, until the spec changes or a restart", () => {
  const spec = { podTemplate: { spec: { restartPolicy: "Never" } } };
  const session = sessionWith(spec);
  expect(want(session, warm(session, { phase: "Succeeded" }))).toBe("Finished PodSucceeded");
  expect(want(session, warm(session, { phase: "Failed" }))).toBe("Finished PodFailed");
  expect(want(session, warm(session, { phase: "Running" }))).toBe("Running");
  const pod = podOf(session, { phase: "Succeeded" });
  const status = computeStatus(observedOf(session, { pod }), undefined, NOW);
  const done = sessionWith(spec, status);
  expect(want(done)).toBe("Finished PodSucceeded");
  const edited = { ...done, metadata: { ...done.metadata, generation: 4 } };
  expect(want(edited)).toBe("Running");
  expect(want(sessionWith(spec, status, { [LABEL.restartAt]: iso(1) }))).toBe("Running");
});

const steps = (session: ArgusSession, more: { pod?: Pod } = {}, minutes = 0) => {
  const { actions, requeueAfterMs } = plan(observedOf(session, more), SETTINGS, at(minutes));
  const done = actions.map((each) => `${each.do} ${"ref" in each ? each.ref.resource.plural : ""}`);
  return requeueAfterMs === undefined ? done : [...done, `in ${requeueAfterMs / 1000} s`];
};

test("an expired session loses its pod, or itself, as its policy says", () => {
  const kept = sessionWith({ shutdownTime: iso(-1) });
  expect(steps(kept, warm(kept))).toEqual(["delete pods"]);
  expect(steps(kept)).toEqual([]);
  const gone = sessionWith({ shutdownTime: iso(-1), shutdownPolicy: "Delete" });
  expect(steps(gone, warm(gone))).toEqual(["delete argussessions"]);
  const { conditions } = computeStatus(observedOf(kept), undefined, NOW);
  const words = conditions?.map(({ type, status, reason }) => `${type} ${status} ${reason}`);
  expect(words).toContain("Ready False SessionExpired");
  expect(words).toContain("Finished True SessionExpired");
  expect(words).toContain("Suspended True PodTerminated");
});

test("a finished session is deleted when its time to live is over, counted from Finished", () => {
  const spec = { shutdownTime: iso(-1), ttlSecondsAfterFinished: 120 };
  const fresh = sessionWith(spec);
  expect(steps(fresh)).toEqual([]);
  const status = computeStatus(observedOf(fresh), undefined, NOW);
  const told = sessionWith(spec, status);
  expect(steps(told, {}, 1)).toEqual(["in 60 s"]);
  expect(steps(told, {}, 2)).toEqual(["delete argussessions"]);
});

test("demand that comes after the mark and before the deletion keeps the pod and takes the mark back at once", () => {
  const going = sessionWith(idle(), none(-600));
  const marked = computeStatus(observedOf(going, warm(going)), undefined, NOW);
  const session = sessionWith(idle(), { ...marked, activity: { demand: "Open", since: iso(0) } });
  expect(steps(session, warm(session))).not.toContain("delete pods");
  const next = computeStatus(observedOf(session, warm(session)), undefined, NOW);
  const found = next.conditions?.find(({ type }) => type === "Suspended");
  expect(found).toMatchObject({ status: "False", reason: "NotSuspended" });
  expect(isUrgent(session, next)).toBe(true);
  // Without it the mark is what deletes.
  const asleep = sessionWith(idle(), { ...marked, ...none(-600) });
  expect(steps(asleep, warm(asleep))).toEqual(["delete pods"]);
});

test("for every spec, demand and time: open demand of a warm session is never suspended but by a person or its end", () => {
  const arbitrary = fc.record({
    suspendAfterSeconds: fc.constantFrom(0, 30, 600, 86_400),
    wakeOn: fc.constantFrom<("Message" | "Cron")[]>([], ["Message"], ["Cron", "Message"]),
    demand: fc.constantFrom("None" as const, "Open" as const),
    since: fc.integer({ min: -1000, max: 10 }),
    minutes: fc.integer({ min: -10, max: 2000 }),
    warm: fc.boolean(),
  });
  fc.assert(
    fc.property(arbitrary, ({ demand, since, minutes, warm: isWarm, ...rest }) => {
      const status = { activity: { demand, since: iso(since) } };
      const session = sessionWith({ idle: rest }, status);
      const pod = isWarm ? warm(session) : {};
      const found = want(session, pod, minutes);
      if (demand === "Open") expect(found).toBe("Running");
      else if (rest.suspendAfterSeconds === 0) expect(found).toBe("Running");
      else {
        const bornMinutes = isWarm ? -60 : Number.NEGATIVE_INFINITY;
        const idleMinutes = minutes - Math.max(since, bornMinutes);
        const cold = idleMinutes * 60 >= rest.suspendAfterSeconds;
        expect(found.startsWith("Suspended")).toBe(cold);
      }
    }),
    { numRuns: 2000 },
  );
});
