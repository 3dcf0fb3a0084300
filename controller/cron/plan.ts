import type { ArgusCronStatus, CronSkipReason } from "#crds/argus-cron.ts";
import type { ArgusCron } from "#crds/kinds.ts";
import { openSchedule, type Schedule, type ScheduleProblem } from "./schedule.ts";

const SECOND_MS = 1000;

/** Slots that are decided as not to be run; the last of them stands for all. */
export interface Skip {
  slotMs: number;
  count: number;
  reason: CronSkipReason;
}

/** What is to be done about one cron now. All times in milliseconds. */
export interface Plan {
  problem?: ScheduleProblem;
  /** When the schedule and zone of the spec came into force. */
  revisedMs: number;
  /** In the order of their slots; all of them before `postMs`. */
  skips: Skip[];
  /** The slot to post. */
  postMs?: number;
  /** The first slot after all that is decided or posted; none while suspended. */
  nextMs?: number;
}

/**
 * Decides about every slot up to now, once: at most the latest is posted, the others are skipped and counted. The cursor in the
 * status rules, not the clock, so that clocks that go back repeat nothing. Pure.
 */
export function plan(cron: ArgusCron, sessionExists: boolean, nowMs: number): Plan {
  const { schedule: expression, timeZone, suspend } = cron.spec;
  const revision = revise(cron, nowMs);
  const { revisedMs, skips } = revision;
  const { schedule, problem } = openSchedule(expression, timeZone);
  if (problem) return { problem, revisedMs, skips };
  if (suspend) return { revisedMs, skips };
  const sinceMs = Math.max(revision.cursorMs, revisedMs);
  const nextMs = schedule.nextMs(Math.max(sinceMs, nowMs));
  if (nextMs === undefined) return { problem: neverComes(expression), revisedMs, skips };
  const dueMs = schedule.latestMs(nowMs);
  if (dueMs === undefined || dueMs <= sinceMs) return { revisedMs, skips, nextMs };
  const due = decide(cron, { schedule, sinceMs, dueMs, sessionExists, nowMs });
  return { revisedMs, ...due, skips: [...skips, ...due.skips], nextMs };
}

/** The latest slot is posted, or skipped like those before it. */
function decide(
  cron: ArgusCron,
  due: {
    schedule: Schedule;
    sinceMs: number;
    dueMs: number;
    sessionExists: boolean;
    nowMs: number;
  },
): Pick<Plan, "skips" | "postMs"> {
  const { schedule, sinceMs, dueMs } = due;
  const reason = obstacle(cron, due);
  if (reason) {
    return { skips: [{ slotMs: dueMs, count: schedule.count(sinceMs, dueMs), reason }] };
  }
  const beforeMs = schedule.latestMs(dueMs - SECOND_MS) ?? sinceMs;
  if (beforeMs <= sinceMs) return { skips: [], postMs: dueMs };
  const count = schedule.count(sinceMs, beforeMs);
  return { skips: [{ slotMs: beforeMs, count, reason: missReason(cron) }], postMs: dueMs };
}

function obstacle(
  { spec }: ArgusCron,
  { dueMs, sessionExists, nowMs }: { dueMs: number; sessionExists: boolean; nowMs: number },
): CronSkipReason | undefined {
  const { startingDeadlineSeconds: deadline } = spec;
  if (deadline !== undefined && nowMs - dueMs > deadline * SECOND_MS) return "TooLate";
  return sessionExists ? undefined : "SessionNotFound";
}

interface Revision {
  revisedMs: number;
  /** The last slot that was decided, of whatever schedule. */
  cursorMs: number;
  skips: Skip[];
}

/** A changed schedule begins now; slots of the former one that nobody came to decide are skipped. */
function revise(cron: ArgusCron, nowMs: number): Revision {
  const { observedSchedule: former, scheduleRevisionTime, lastScheduleTime } = cron.status ?? {};
  const cursorMs = msOf(lastScheduleTime) ?? Number.NEGATIVE_INFINITY;
  const createdMs = msOf(cron.metadata.creationTimestamp) ?? nowMs;
  const revisedMs = (former && msOf(scheduleRevisionTime)) ?? createdMs;
  if (!former || isSameSchedule(former, cron.spec)) return { revisedMs, cursorMs, skips: [] };
  const skip = undecided(cron, { ...former, sinceMs: Math.max(cursorMs, revisedMs), nowMs });
  const nowWholeMs = Math.floor(nowMs / SECOND_MS) * SECOND_MS;
  if (!skip) return { revisedMs: nowWholeMs, cursorMs, skips: [] };
  return { revisedMs: nowWholeMs, cursorMs: skip.slotMs, skips: [skip] };
}

interface ScheduleText {
  schedule: string;
  timeZone: string;
}

function isSameSchedule(a: ScheduleText, b: ScheduleText): boolean {
  return a.schedule === b.schedule && a.timeZone === b.timeZone;
}

function undecided(
  cron: ArgusCron,
  former: ScheduleText & { sinceMs: number; nowMs: number },
): Skip | undefined {
  const { sinceMs, nowMs } = former;
  const { schedule } = openSchedule(former.schedule, former.timeZone);
  const slotMs = schedule?.latestMs(nowMs);
  if (!schedule || slotMs === undefined || slotMs <= sinceMs) return undefined;
  return { slotMs, count: schedule.count(sinceMs, slotMs), reason: missReason(cron) };
}

/** Nobody was there to decide: because it was suspended, or for want of a controller or a gateway. */
function missReason({ status }: ArgusCron): CronSkipReason {
  return isShownSuspended(status) ? "Suspended" : "MissedWhileDown";
}

function isShownSuspended(status: ArgusCronStatus | undefined): boolean {
  const ready = status?.conditions?.find(({ type }) => type === "Ready");
  return ready?.reason === "Suspended";
}

function neverComes(expression: string): ScheduleProblem {
  const message = `spec.schedule: ${JSON.stringify(expression)} names a time that never comes`;
  return { reason: "BadSchedule", message };
}

function msOf(time: string | undefined): number | undefined {
  return time === undefined ? undefined : Date.parse(time);
}
