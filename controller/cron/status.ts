import { isDeepStrictEqual } from "node:util";
import { present } from "#cluster/objects.ts";
import {
  type ArgusCronStatus,
  CRON_CONDITIONS,
  type CronConditionType,
  type CronSkipReason,
} from "#crds/argus-cron.ts";
import { type Condition, setCondition } from "#crds/condition.ts";
import type { ArgusCron } from "#crds/kinds.ts";
import type { Plan, Skip } from "./plan.ts";
import type { PostResult } from "./post.ts";

/** What is known anew of the last run. */
export type Followed = Pick<ArgusCronStatus, "lastRun" | "lastSuccessfulTime">;

export interface Decided {
  cron: ArgusCron;
  sessionExists: boolean;
  plan: Plan;
  /** What became of `plan.postMs`; undefined = it was not tried. */
  result: PostResult | undefined;
  /** What the gateway says of the run before. */
  followed?: Followed | undefined;
}

interface Obstacle {
  reason: string;
  message: string;
}

/** The status after a plan was carried out. Pure; equal facts give equal bytes. */
export function computeStatus(decided: Decided, now: Date): ArgusCronStatus {
  const { cron, plan } = decided;
  const { schedule, timeZone } = cron.spec;
  const before = cron.status ?? {};
  const skips = allSkips(decided);
  return present({
    observedGeneration: cron.metadata.generation ?? 0,
    conditions: conditions(decided, now),
    lastScheduleTime: latest(before.lastScheduleTime, cursorOf(decided, skips)),
    nextScheduleTime: nextOf(decided),
    lastSuccessfulTime: latest(before.lastSuccessfulTime, decided.followed?.lastSuccessfulTime),
    lastRun: lastRun(decided) ?? decided.followed?.lastRun ?? before.lastRun,
    lastSkip: lastSkip(skips, now) ?? before.lastSkip,
    missedSchedules: (before.missedSchedules ?? 0) + skippedCount(skips),
    scheduleRevisionTime: timeOf(plan.revisedMs),
    observedSchedule: { schedule, timeZone },
  });
}

export function statusDiffers({ status }: ArgusCron, next: ArgusCronStatus): boolean {
  return !isDeepStrictEqual(status ?? {}, next);
}

/** Of the plan, and that of the gateway. */
export function allSkips({ plan, result }: Pick<Decided, "plan" | "result">): Skip[] {
  if (result?.state !== "skipped" || plan.postMs === undefined) return plan.skips;
  return [...plan.skips, { slotMs: plan.postMs, count: 1, reason: "StillActive" }];
}

export function skippedCount(skips: readonly Skip[]): number {
  return skips.reduce((sum, { count }) => sum + count, 0);
}

/** `2026-03-29T01:00:00Z`, as Kubernetes writes times. */
export function timeOf(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

function cursorOf({ plan, result }: Decided, skips: Skip[]): string | undefined {
  const isPosted = result !== undefined && result.state !== "failed";
  const cursorMs = isPosted ? plan.postMs : skips.at(-1)?.slotMs;
  return cursorMs === undefined ? undefined : timeOf(cursorMs);
}

/** Neither the cursor nor the last success goes back. */
function latest(before: string | undefined, next: string | undefined): string | undefined {
  if (before === undefined || next === undefined) return next ?? before;
  return next > before ? next : before;
}

/** A slot that could not be posted yet is the next one. */
function nextOf({ plan, result }: Decided): string | undefined {
  const isOpen = plan.postMs !== undefined && (result === undefined || result.state === "failed");
  const nextMs = isOpen ? plan.postMs : plan.nextMs;
  return nextMs === undefined ? undefined : timeOf(nextMs);
}

function lastRun({ plan, result }: Decided): ArgusCronStatus["lastRun"] {
  if (plan.postMs === undefined || result === undefined || result.state === "failed") {
    return undefined;
  }
  const slot = timeOf(plan.postMs);
  if (result.state !== "skipped") return { slot, state: "Queued" };
  return { slot, state: "Skipped", ...(result.reason ? { reason: result.reason } : {}) };
}

function lastSkip(skips: Skip[], now: Date): ArgusCronStatus["lastSkip"] {
  const last = skips.at(-1);
  if (!last) return undefined;
  return { slot: timeOf(last.slotMs), reason: last.reason, time: timeOf(now.getTime()) };
}

type Finding = Omit<Condition, "lastTransitionTime" | "type"> & { type: CronConditionType };

function conditions(decided: Decided, now: Date): Condition[] {
  const { cron } = decided;
  const observedGeneration = cron.metadata.generation ?? 0;
  const known = (cron.status?.conditions ?? []).filter(({ type }) => type in CRON_CONDITIONS);
  const next = findings(decided).reduce<Condition[]>(
    (list, finding) => setCondition(list, { ...finding, observedGeneration }, now),
    known,
  );
  const order = Object.keys(CRON_CONDITIONS);
  return next.toSorted((a, b) => order.indexOf(a.type) - order.indexOf(b.type));
}

function findings(decided: Decided): Finding[] {
  const { cron, sessionExists, plan } = decided;
  const session = `ArgusSession ${cron.metadata.namespace}/${cron.spec.sessionRef.name}`;
  const missing = `${session} does not exist: create it, or change spec.sessionRef.name`;
  const obstacle =
    plan.problem ??
    suspended(cron) ??
    (sessionExists ? undefined : { reason: "SessionNotFound", message: missing }) ??
    failure(decided);
  return [
    obstacle
      ? { type: "Ready", status: "False", ...obstacle }
      : { type: "Ready", status: "True", reason: "Scheduled", message: CRON_CONDITIONS.Ready },
    plan.problem
      ? { type: "ScheduleValid", status: "False", ...plan.problem }
      : { type: "ScheduleValid", status: "True", reason: "Valid", message: "" },
    sessionExists
      ? { type: "SessionFound", status: "True", reason: "Found", message: "" }
      : { type: "SessionFound", status: "False", reason: "NotFound", message: missing },
  ];
}

function suspended({ spec }: ArgusCron): Obstacle | undefined {
  if (!spec.suspend) return undefined;
  return { reason: "Suspended", message: "spec.suspend is true: set it to false to continue" };
}

function failure({ result }: Decided): Obstacle | undefined {
  return result?.state === "failed" ? result.problem : undefined;
}

/** What a skip's reason means, for an event. */
export const SKIP_WORDS: Record<CronSkipReason, string> = {
  TooLate: "later than spec.startingDeadlineSeconds",
  StillActive:
    "an earlier message of this schedule is still active and concurrencyPolicy forbids another",
  Suspended: "the schedule was suspended",
  MissedWhileDown: "nobody could post it before the next one was due",
  SessionNotFound: "the session does not exist",
};
