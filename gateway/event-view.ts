import type { EventStatus } from "#protocol/events.ts";
import type { EndedEvent, LaneEvent } from "#protocol/lane-entry.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import { findEvent } from "./state/events.ts";

// Events as clients and the controller see them. Pure.

/** The seed's shape. */
export interface SystemEvent {
  eventId: string;
  kind: string;
  text: string;
  createdAtMs: number;
  meta?: unknown;
}

export function systemEvent({ id, kind, text, createdAt, meta }: LaneEvent): SystemEvent {
  const known = { eventId: id, kind, text, createdAtMs: createdAt };
  return meta === undefined ? known : { ...known, meta: JSON.parse(meta) };
}

const STATES = { done: "Succeeded", dead: "DeadLettered", skipped: "Skipped" } as const;

/** What is known of the event of this key; undefined = nothing. */
export function eventStatus(document: SessionDocument, key: string): EventStatus | undefined {
  const found = findEvent(document, key);
  if (!found) return undefined;
  if (found.state !== "ended") {
    const { reason = "", source } = found.event;
    const state = found.state === "running" ? "Running" : "Queued";
    return { ok: true, key, state, reason, ...lastSuccess(document, source.uid) };
  }
  const { state, reason, endedAt, source } = found.ended;
  const finishedAt = new Date(endedAt).toISOString();
  const ended = { state: STATES[state], reason, finishedAt };
  return { ok: true, key, ...ended, ...lastSuccess(document, source.uid) };
}

function lastSuccess({ endedEvents }: SessionDocument, uid: string) {
  const slots = endedEvents
    .filter((event) => event.source.uid === uid && event.state === "done")
    .flatMap(({ slot }) => (slot === undefined ? [] : [slot]));
  const last = slots.toSorted().at(-1);
  return last === undefined ? {} : { lastSuccessfulSlot: last };
}

/** One row of a list of events. */
export interface EventRow {
  eventId: string;
  key: string;
  kind: string;
  source: string;
  state: EventStatus["state"];
  reason: string;
  slot?: string;
  createdAtMs?: number;
  endedAtMs?: number;
  tries?: number;
  notBeforeMs?: number;
  text?: string;
  /** It is dead, and its text is still kept. */
  canReplay: boolean;
}

/** Open events in their order, then those that ended, the newest first. */
export function eventRows({ events, endedEvents, turn }: SessionDocument): EventRow[] {
  const running = new Set(turn?.eventIds);
  return [
    ...events.map((event) => openRow(event, running.has(event.id))),
    ...endedEvents.toReversed().map(endedRow),
  ];
}

function openRow(event: LaneEvent, isRunning: boolean): EventRow {
  const { id, key, kind, source, slot, createdAt, tries, notBefore, text, reason = "" } = event;
  return {
    eventId: id,
    key,
    kind,
    source: source.name,
    state: isRunning ? "Running" : "Queued",
    reason,
    ...(slot ? { slot } : {}),
    createdAtMs: createdAt,
    tries,
    ...(notBefore > 0 ? { notBeforeMs: notBefore } : {}),
    text,
    canReplay: false,
  };
}

export function endedRow(ended: EndedEvent): EventRow {
  const { id, key, kind, source, slot, state, reason, endedAt, text } = ended;
  return {
    eventId: id,
    key,
    kind,
    source: source.name,
    state: STATES[state],
    reason,
    ...(slot ? { slot } : {}),
    endedAtMs: endedAt,
    ...(text === undefined ? {} : { text }),
    canReplay: state === "dead" && text !== undefined,
  };
}
