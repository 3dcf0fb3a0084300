import { createHash } from "node:crypto";
import type { ArgusSessionSpec } from "#crds/argus-session.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import { withoutFrontMatter } from "./prompt.ts";

// When a session's heartbeat is due. Pure.

type Spec = ArgusSessionSpec["heartbeat"];
/** The heartbeats of many sessions do not come at once: each is late by up to this share of its interval. */
const JITTER = 0.1;
const MAX_WAIT_MS = 24 * 60 * 60 * 1000;
const MINUTE_MS = 60_000;
const DAY_MINUTES = 24 * 60;

export interface BeatFacts {
  /** Of the session object. */
  uid: string;
  /** When the session was made, ms since the epoch. */
  createdAt: number;
  /** Its pod runs: HEARTBEAT.md can be read, so that what was read earlier decides nothing. */
  isUp: boolean;
}

/** Time of the next heartbeat, ms since the epoch; null = none. One that is asked for comes at once, also outside the active hours. */
export function heartbeatAt(
  heartbeat: SessionDocument["heartbeat"],
  spec: Spec | undefined,
  { uid, createdAt, isUp }: BeatFacts,
): number | null {
  const { lastAt, requested, failures, hasTasks } = heartbeat;
  const interval = (spec?.intervalSeconds ?? 0) * 1000;
  const wait = failures > 0 ? backoff(interval, failures) : interval;
  if (requested) return failures > 0 ? lastAt + wait : 0;
  if (!spec || interval === 0 || (hasTasks === false && !isUp)) return null;
  const since = Math.max(lastAt, createdAt);
  const due = since + wait;
  const late = Math.round(lateness(uid, since) * interval);
  const active = activeFrom(due, spec);
  // Also those that the active hours held back do not all come at their start.
  return activeFrom(active + late, spec) === active + late ? active + late : active;
}

function backoff(interval: number, failures: number): number {
  const doubled = Math.max(interval, MINUTE_MS) * 2 ** Math.min(failures - 1, 20);
  return Math.min(MAX_WAIT_MS, doubled);
}

/** 0…{@link JITTER}; the same for the same heartbeat, so that a restart changes nothing. */
function lateness(uid: string, since: number): number {
  const digest = createHash("sha256").update(`${uid} ${since}`).digest();
  return (digest.readUInt32BE(0) / 2 ** 32) * JITTER;
}

/** `at`, or the next start of the active hours after it. Hours of an unknown time zone count as UTC. */
export function activeFrom(at: number, { activeHours, timeZone }: Spec): number {
  if (!activeHours) return at;
  const [start, end] = [minutes(activeHours.start), minutes(activeHours.end)];
  const clock = clockOf(timeZone ?? "UTC");
  const isActive = (time: number) => isWithin(minutes(clock.format(time)), start, end);
  if (isActive(at)) return at;
  const floor = Math.floor(at / MINUTE_MS) * MINUTE_MS;
  const ahead = (start - minutes(clock.format(floor)) + DAY_MINUTES) % DAY_MINUTES || DAY_MINUTES;
  const found = floor + ahead * MINUTE_MS;
  // A change of the clocks on the way: the start is an hour earlier or later, or does not exist in that night.
  const off = minutes(clock.format(found)) - start;
  const moved = found - (off > DAY_MINUTES / 2 ? off - DAY_MINUTES : off) * MINUTE_MS;
  return moved > at && isActive(moved) ? moved : found;
}

/** Equal ends mean the whole day; a start after the end means over midnight. */
function isWithin(now: number, start: number, end: number): boolean {
  if (start === end) return true;
  return start < end ? now >= start && now < end : now >= start || now < end;
}

function minutes(text: string): number {
  const [hour = "0", minute = "0"] = text.split(":");
  return Number(hour) * 60 + Number(minute);
}

const clocks = new Map<string, Intl.DateTimeFormat>();
const MAX_CLOCKS = 1000;

/** Made once for each zone: making one costs more than a lane's whole look at its document. */
function clockOf(timeZone: string): Intl.DateTimeFormat {
  const known = clocks.get(timeZone);
  if (known) return known;
  const clock = isZone(timeZone) ? newClock(timeZone) : newClock("UTC");
  if (clocks.size >= MAX_CLOCKS) clocks.clear();
  clocks.set(timeZone, clock);
  return clock;
}

function newClock(timeZone: string): Intl.DateTimeFormat {
  const digits = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
  return new Intl.DateTimeFormat("en-GB", { timeZone, ...digits });
}

/** Whether this machine knows the zone; the schema can only tell that it looks like one. */
export function isZone(timeZone: string): boolean {
  try {
    return newClock(timeZone) !== undefined;
  } catch {
    return false;
  }
}

/** Whether the file asks for anything: a line that is no heading, no empty list item or check box, no comment. */
export function hasTasks(text: string): boolean {
  return withoutFrontMatter(text)
    .split("\n")
    .some((line) => {
      const bare = line.trim();
      if (bare === "" || /^#+(\s|$)/.test(bare)) return false;
      if (/^[-*+](\s+\[[ xX]?\])?$/.test(bare)) return false;
      return !/^<!--.*-->$/.test(bare);
    });
}

/** The heartbeat had nothing to do: the next one is due an interval later. */
export function skipHeartbeat(document: SessionDocument, now: number): SessionDocument {
  const heartbeat = { ...document.heartbeat, lastAt: now, requested: false, failures: 0 };
  return { ...document, heartbeat };
}

/** Somebody wants a heartbeat now, or a cold session has to wake for one. */
export function requestHeartbeat(document: SessionDocument): SessionDocument {
  if (document.heartbeat.requested) return document;
  return { ...document, heartbeat: { ...document.heartbeat, requested: true } };
}

/** Whether HEARTBEAT.md asks for anything; undefined = nobody knows. */
export function knowTasks(document: SessionDocument, tasks: boolean | undefined): SessionDocument {
  const { hasTasks: before, ...rest } = document.heartbeat;
  if (before === tasks) return document;
  return { ...document, heartbeat: tasks === undefined ? rest : { ...rest, hasTasks: tasks } };
}
