import { expect, test } from "vitest";
import { type Plan, plan } from "#controller/cron/plan.ts";
import type { PostResult } from "#controller/cron/post.ts";
import { computeStatus, statusDiffers } from "#controller/cron/status.ts";
import { ArgusCronSpec, type ArgusCronSpecInput, type ArgusCronStatus } from "#crds/argus-cron.ts";
import type { ArgusCron } from "#crds/kinds.ts";

const DAY = "2026-05-04";
const at = (time: string) => Date.parse(`${DAY}T${time}Z`);
const written = (ms: number | undefined) => ms && new Date(ms).toISOString().slice(11, 19);

function cron(spec: Partial<ArgusCronSpecInput> = {}, status?: ArgusCronStatus): ArgusCron {
  return {
    apiVersion: "argus.dev/v1alpha1",
    kind: "ArgusCron",
    metadata: {
      name: "cron",
      namespace: "default",
      uid: "u",
      generation: 1,
      creationTimestamp: `${DAY}T08:00:30Z`,
    },
    spec: ArgusCronSpec.parse({
      schedule: "*/10 * * * *",
      sessionRef: { name: "main" },
      event: { text: "tick" },
      ...spec,
    }),
    ...(status ? { status } : {}),
  };
}

/** A status with this cursor, of the schedule that is in force. */
function decided(last: string, more: ArgusCronStatus = {}): ArgusCronStatus {
  return {
    lastScheduleTime: `${DAY}T${last}Z`,
    scheduleRevisionTime: `${DAY}T08:00:30Z`,
    observedSchedule: { schedule: "*/10 * * * *", timeZone: "UTC" },
    ...more,
  };
}

/** What is posted, what is skipped, what comes next; in words. */
function said({ postMs, skips, nextMs, problem }: Plan): string {
  if (problem) return problem.reason;
  const skipped = skips.map(
    ({ slotMs, count, reason }) => `skip ${count} to ${written(slotMs)} ${reason}`,
  );
  const posted = postMs === undefined ? [] : [`post ${written(postMs)}`];
  return [...skipped, ...posted, `next ${written(nextMs) ?? "never"}`].join(", ");
}

const deadline = { startingDeadlineSeconds: 60 };
const suspended = decided("08:10:00", {
  conditions: [
    {
      type: "Ready",
      status: "False",
      reason: "Suspended",
      message: "",
      lastTransitionTime: `${DAY}T08:11:00Z`,
    },
  ],
});

test.each<[string, ArgusCron, string, string]>([
  ["new, before its first slot", cron(), "08:09:59", "next 08:10:00"],
  ["new, at its first slot", cron(), "08:10:00", "post 08:10:00, next 08:20:00"],
  ["nothing before it was made", cron(), "08:00:31", "next 08:10:00"],
  ["on time", cron({}, decided("08:10:00")), "08:20:00", "post 08:20:00, next 08:30:00"],
  ["between slots", cron({}, decided("08:10:00")), "08:15:00", "next 08:20:00"],
  [
    "three slots late: the latest is posted",
    cron({}, decided("08:10:00")),
    "08:45:00",
    "skip 2 to 08:30:00 MissedWhileDown, post 08:40:00, next 08:50:00",
  ],
  [
    "within the deadline",
    cron(deadline, decided("08:10:00")),
    "08:21:00",
    "post 08:20:00, next 08:30:00",
  ],
  [
    "after the deadline: the skip moves the cursor past the slot",
    cron(deadline, decided("08:10:00")),
    "08:21:01",
    "skip 1 to 08:20:00 TooLate, next 08:30:00",
  ],
  [
    "several after the deadline",
    cron(deadline, decided("08:10:00")),
    "08:45:00",
    "skip 3 to 08:40:00 TooLate, next 08:50:00",
  ],
  [
    "after a skip the next slot fires",
    cron(deadline, decided("08:20:00")),
    "08:30:00",
    "post 08:30:00, next 08:40:00",
  ],
  ["suspended", cron({ suspend: true }, decided("08:10:00")), "08:45:00", "next never"],
  [
    "resumed without a deadline: the latest fires at once",
    cron({}, suspended),
    "08:45:00",
    "skip 2 to 08:30:00 Suspended, post 08:40:00, next 08:50:00",
  ],
  [
    "resumed after the deadline",
    cron(deadline, suspended),
    "08:45:00",
    "skip 3 to 08:40:00 TooLate, next 08:50:00",
  ],
  [
    "the clock went back: nothing is repeated",
    cron({}, decided("09:10:00")),
    "08:15:00",
    "next 09:20:00",
  ],
  [
    "the clock went on by an hour: one catch-up",
    cron({}, decided("08:10:00")),
    "09:15:00",
    "skip 5 to 09:00:00 MissedWhileDown, post 09:10:00, next 09:20:00",
  ],
  [
    "an edit: slots of the new schedule before it never fire",
    cron({ schedule: "5,15 * * * *" }, decided("08:10:00")),
    "08:17:00",
    "next 09:05:00",
  ],
  [
    "an edit while slots of the former schedule were open",
    cron({ schedule: "5,15 * * * *" }, decided("08:10:00")),
    "08:35:00",
    "skip 2 to 08:30:00 MissedWhileDown, next 09:05:00",
  ],
  [
    "another zone is an edit",
    cron({ timeZone: "Asia/Kathmandu" }, decided("08:10:00")),
    "08:15:10",
    "next 08:25:00",
  ],
  ["an unknown zone", cron({ timeZone: "Mars/Olympus" }), "08:20:00", "UnknownTimeZone"],
  ["a schedule that cannot be read", cron({ schedule: "often" }), "08:20:00", "BadSchedule"],
  ["a schedule that never comes", cron({ schedule: "0 0 30 2 *" }), "08:20:00", "BadSchedule"],
])("%s", (_, given, now, wanted) => {
  expect(said(plan(given, true, at(now)))).toBe(wanted);
});

test("without its session a due slot is skipped, and the cursor moves", () => {
  const planned = plan(cron({}, decided("08:10:00")), false, at("08:20:00"));
  expect(said(planned)).toBe("skip 1 to 08:20:00 SessionNotFound, next 08:30:00");
});

/** The status after one pass, as the next pass finds it. */
function pass(given: ArgusCron, now: string, result?: PostResult): ArgusCron {
  const planned = plan(given, true, at(now));
  const facts = { cron: given, sessionExists: true, plan: planned, result };
  return { ...given, status: computeStatus(facts, new Date(at(now))) };
}

const failed = (reason: string): PostResult => ({
  state: "failed",
  problem: { reason, message: "words" },
});

test("a posted slot moves the cursor, a failed post does not", () => {
  const tried = pass(cron(), "08:10:00", failed("GatewayUnavailable"));
  expect(tried.status?.lastScheduleTime).toBeUndefined();
  expect(tried.status?.nextScheduleTime).toBe(`${DAY}T08:10:00Z`);
  expect(tried.status?.conditions?.[0]).toMatchObject({
    type: "Ready",
    status: "False",
    reason: "GatewayUnavailable",
  });
  const done = pass(tried, "08:10:07", { state: "duplicate" });
  expect(done.status).toMatchObject({
    lastScheduleTime: `${DAY}T08:10:00Z`,
    nextScheduleTime: `${DAY}T08:20:00Z`,
    lastRun: { slot: `${DAY}T08:10:00Z`, state: "Queued" },
    missedSchedules: 0,
  });
  expect(statusDiffers(done, pass(done, "08:12:00").status ?? {})).toBe(false);
});

test("what the gateway skips is a skip like any other", () => {
  const reason = "an earlier event is still active";
  const { status } = pass(cron(), "08:10:00", { state: "skipped", reason });
  expect(status).toMatchObject({
    lastScheduleTime: `${DAY}T08:10:00Z`,
    lastRun: { slot: `${DAY}T08:10:00Z`, state: "Skipped", reason },
    lastSkip: { slot: `${DAY}T08:10:00Z`, reason: "StillActive", time: `${DAY}T08:10:00Z` },
    missedSchedules: 1,
  });
});

test("stepped past a skip the schedule goes on: one skip of three slots, then every slot", () => {
  let now = pass(cron(deadline), "08:10:00", { state: "queued" });
  now = pass(now, "08:45:00");
  expect(now.status).toMatchObject({ lastScheduleTime: `${DAY}T08:40:00Z`, missedSchedules: 3 });
  now = pass(now, "08:50:00", { state: "queued" });
  now = pass(now, "09:00:00", { state: "queued" });
  expect(now.status).toMatchObject({ lastScheduleTime: `${DAY}T09:00:00Z`, missedSchedules: 3 });
});
