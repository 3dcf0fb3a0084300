import { expect } from "vitest";
import type { ArgusCronStatus } from "#crds/argus-cron.ts";
import type { ArgusCron } from "#crds/kinds.ts";
import { type SlotEvent, slotKey } from "#protocol/events.ts";
import type { EventLedger } from "../fakes/event-endpoint.ts";
import { OracleZone, oraclePattern, oracleSlots } from "./calendar-oracle.ts";
import type { SimCounts, SimOptions } from "./cron-sim.ts";

const DAY_MS = 86_400_000;
/** A slot whose status is there by then was posted as in calm weather. */
const ON_TIME_MS = 3000;

/**
 * Holds every committed status against an independent calendar: each slot is decided once, as posted or as skipped and counted,
 * in order, and none silently.
 */
export class CronJudge {
  /** Something happened since the last post on time that excuses a missed slot. */
  disturbed = false;
  /** Keys of events that a replica was about to post, or to give up, when it stood still. */
  readonly late = new Set<string>();
  readonly #slots = new Map<string, number[]>();
  readonly #known = new Set<number>();
  readonly #skipped = new Set<number>();
  readonly #ledger: EventLedger;
  readonly #counts: SimCounts;

  constructor(
    { schedules, timeZone, fromMs, untilMs }: SimOptions,
    ledger: EventLedger,
    counts: SimCounts,
  ) {
    this.#ledger = ledger;
    this.#counts = counts;
    const window = { fromMs: fromMs - DAY_MS, untilMs: untilMs + DAY_MS };
    const lists = oracleSlots(new OracleZone(timeZone), schedules.map(oraclePattern), window);
    schedules.forEach((schedule, index) => {
      this.#slots.set(schedule, lists[index] ?? []);
      for (const slot of lists[index] ?? []) this.#known.add(slot);
    });
  }

  /** A status was committed at this time. */
  judge(before: ArgusCron, after: ArgusCron, wallMs: number): void {
    const [was, is] = [before.status ?? {}, after.status ?? {}];
    const decided = this.#decided(before, is);
    const last = decided.at(-1);
    const isPosted = is.lastRun?.state === "Queued" && is.lastRun.slot !== was.lastRun?.slot;
    const missed = (is.missedSchedules ?? 0) - (was.missedSchedules ?? 0);
    const demand = (holds: boolean, what: string) => {
      if (!holds) throw new Error(`${what}: ${JSON.stringify({ spec: after.spec, was, is })}`);
    };
    demand(msOf(is.lastScheduleTime) === (last ?? msOf(was.lastScheduleTime)), "wrong cursor");
    demand(missed + (isPosted ? 1 : 0) === decided.length, `not ${decided.length} slots`);
    demand(missed === 0 || this.disturbed, "missed for no reason");
    if (isPosted) {
      demand(is.lastRun?.slot === is.lastScheduleTime, "another slot was posted");
      demand(this.#fate(after, last) === "queued", "not queued");
      if (wallMs - (last ?? 0) < ON_TIME_MS) this.disturbed = false;
    }
    this.#skip(after, isPosted ? decided.slice(0, -1) : decided, demand);
    this.#counts.slots += decided.length;
    this.#counts.posted += isPosted ? 1 : 0;
    this.#counts.skipped += missed;
  }

  /** An event was committed at the endpoint. */
  queued({ key, slot }: SlotEvent, state: string): void {
    const slotMs = Date.parse(slot);
    if (!this.#known.has(slotMs)) throw new Error(`${slot} is no slot`);
    if (state !== "queued" || !this.#skipped.has(slotMs)) return;
    this.#counts.overReported += 1;
    if (this.late.has(key)) return;
    throw new Error(`${slot} ran after it had been skipped`);
  }

  /** In the end nothing is open, and whatever was queued is known to the status. */
  finish(cron: ArgusCron, wallMs: number): void {
    const slots = this.#slots.get(cron.spec.schedule) ?? [];
    const since = Math.max(startOf(cron), msOf(cron.status?.lastScheduleTime) ?? 0);
    expect(between(slots, since, wallMs), "slots that nobody decided").toEqual([]);
  }

  /** The slots that this status decides, by the calendar. */
  #decided(before: ArgusCron, is: ArgusCronStatus): number[] {
    const was = before.status ?? {};
    const sinceMs = Math.max(startOf(before), msOf(was.lastScheduleTime) ?? 0);
    const former = was.observedSchedule?.schedule;
    const current = is.observedSchedule?.schedule ?? "";
    if (former !== undefined && former !== current) {
      const revisedMs = msOf(is.scheduleRevisionTime) ?? 0;
      return between(this.#slots.get(former) ?? [], sinceMs, revisedMs);
    }
    return between(this.#slots.get(current) ?? [], sinceMs, msOf(is.lastScheduleTime) ?? 0);
  }

  #skip(cron: ArgusCron, slots: number[], demand: (holds: boolean, what: string) => void): void {
    const { lastSkip } = cron.status ?? {};
    const last = slots.at(-1);
    if (last === undefined) return;
    demand(msOf(lastSkip?.slot) === last, "another slot was skipped");
    const wasAnswered = lastSkip?.reason !== "StillActive" || this.#fate(cron, last) === "skipped";
    demand(wasAnswered, "the gateway did not skip it");
    const isLate = lastSkip?.reason !== "TooLate" || cron.spec.startingDeadlineSeconds;
    demand(Boolean(isLate), "there is no deadline");
    for (const slot of slots) {
      this.#skipped.add(slot);
      if (this.#fate(cron, slot) === "queued") this.#counts.overReported += 1;
    }
  }

  #fate({ metadata }: ArgusCron, slotMs: number | undefined) {
    return this.#ledger.fates.get(slotKey(metadata.uid ?? "", slotMs ?? 0))?.state;
  }
}

/** Slots before this never fire. */
function startOf({ metadata, status }: ArgusCron): number {
  return msOf(status?.scheduleRevisionTime) ?? msOf(metadata.creationTimestamp) ?? 0;
}

function msOf(time: string | undefined): number | undefined {
  return time === undefined ? undefined : Date.parse(time);
}

/** Of an ascending list, what lies after `fromMs` up to `untilMs`. */
function between(list: number[], fromMs: number, untilMs: number): number[] {
  return list.slice(firstAbove(list, fromMs), Math.max(0, firstAbove(list, untilMs)));
}

function firstAbove(list: number[], value: number): number {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((list[middle] ?? 0) > value) high = middle;
    else low = middle + 1;
  }
  return low;
}
