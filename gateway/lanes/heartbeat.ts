import { createHash } from "node:crypto";
import type { ArgusSessionSpec } from "#crds/argus-session.ts";
import type { SessionDocument } from "#protocol/session-document.ts";

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
  { lastAt, requested, failures, hasTasks }: SessionDocument["heartbeat"],
  spec: Spec | undefined,
  { uid, createdAt, isUp }: BeatFacts,
): number | null {
  const since = Math.max(lastAt, createdAt);
  const interval = (spec?.intervalSeconds ?? 0) * 1000;
  const wait = Math.min(
    MAX_WAIT_MS,
    Math.max(interval, MINUTE_MS) * 2 ** Math.min(failures - 1, 20),
  );
  if (requested) return failures > 0 ? lastAt + wait : 0;
  if (!spec || interval === 0 || (hasTasks === false && !isUp)) return null;
  const due = since + (failures > 0 ? wait : interval) + lateness(uid, since) * interval;
  return activeFrom(Math.round(due), spec);
}

/** The same for the same heartbeat, so that a restart changes nothing. */
function lateness(uid: string, since: number): number {
  const digest = createHash("sha256").update(`${uid} ${since}`).digest();
  return (digest.readUInt32BE(0) / 2 ** 32) * JITTER;
}

/** `at`, or the next start of the active hours after it. */
export function activeFrom(at: number, { activeHours, timeZone }: Spec): number {
  if (!activeHours) return at;
  const [start, end] = [minutes(activeHours.start), minutes(activeHours.end)];
  const zone = timeZone ?? "UTC";
  if (isWithin(minuteOfDay(at, zone), start, end)) return at;
  const ahead = (start - minuteOfDay(at, zone) + DAY_MINUTES) % DAY_MINUTES;
  const next = Math.floor(at / MINUTE_MS) * MINUTE_MS + ahead * MINUTE_MS;
  // Where the clocks change in between it is off by as much.
  const off = (minuteOfDay(next, zone) - start + DAY_MINUTES * 1.5) % DAY_MINUTES;
  return next - (off - DAY_MINUTES / 2) * MINUTE_MS;
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

function minuteOfDay(at: number, timeZone: string): number {
  const clock = new Intl.DateTimeFormat("en-GB", {
    timeZone,
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  });
  return minutes(clock.format(at));
}

/** Whether the file asks for anything: a line that is no heading, no empty list item or check box, no comment. */
export function hasTasks(text: string): boolean {
  return text.split("\n").some((line) => {
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

/** What HEARTBEAT.md asks for is known. */
export function knowTasks(document: SessionDocument, tasks: boolean): SessionDocument {
  if (document.heartbeat.hasTasks === tasks) return document;
  return { ...document, heartbeat: { ...document.heartbeat, hasTasks: tasks } };
}
