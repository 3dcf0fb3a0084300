import { ArgusError } from "#lib/errors.ts";
import type { ConcurrencyPolicy } from "#protocol/events.ts";
import {
  type EndedEvent,
  type LaneEvent,
  MAX_EVENT_BYTES,
  MAX_EVENT_META_BYTES,
  MAX_EVENT_RETRIES,
  MAX_EVENTS_PER_SOURCE,
  MAX_OPEN_EVENTS,
} from "#protocol/lane-entry.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import type { Reduced } from "./document.ts";
import { refuseClosing } from "./inputs.ts";
import { bytesOf, demandRoom, expire, reasonOf } from "./room.ts";

// Events: pure, and the same command twice changes nothing the second time.

/** Wait before the next try of an event whose turn failed, by the number of failures. */
const RETRY_MS = [5_000, 30_000, 120_000];

export interface EnqueueEvent
  extends Omit<LaneEvent, "createdAt" | "tries" | "notBefore" | "reason"> {
  /** Among events of the same source that have not ended; decided here, in the commit of the enqueue. */
  policy: ConcurrencyPolicy;
  now: number;
  limit: number;
}

export type EventAccepted =
  | { state: "queued"; event: LaneEvent }
  /** The key was known and its event is open or done. */
  | { state: "duplicate"; event?: LaneEvent; ended?: EndedEvent }
  | { state: "skipped"; reason: string };

/** Accepts an event. Throws `InvalidInput`, `TooLarge`, `NotFound` or `Busy`; then nothing was accepted. */
export function enqueueEvent(
  before: SessionDocument,
  { policy, now, limit, ...wanted }: EnqueueEvent,
): Reduced<SessionDocument, EventAccepted> {
  const document = expire(before, now, limit);
  const known = knownEvent(document, wanted.key);
  if (known) return { document: before, answer: known };
  const event: LaneEvent = { ...wanted, createdAt: now, tries: 0, notBefore: 0 };
  refuse(document, event);
  const active = document.events.filter(({ source }) => source.uid === event.source.uid);
  if (policy === "Forbid" && active[0])
    return skip(document, event, { now, limit, active: active[0] });
  const queued = active.find(({ id }) => !document.turn?.eventIds.includes(id));
  if (policy === "Replace" && queued) return replace(document, event, { now, limit, queued });
  demandPlace(document, event, active.length);
  demandRoom(document, bytesOf(event), limit);
  return {
    document: { ...document, events: [...document.events, event] },
    answer: { state: "queued", event },
  };
}

function knownEvent(document: SessionDocument, wanted: string): EventAccepted | undefined {
  const event = document.events.find(({ key }) => key === wanted);
  if (event) return { state: "duplicate", event };
  const ended = document.endedEvents.find(({ key }) => key === wanted);
  if (ended?.state === "skipped") return { state: "skipped", reason: ended.reason };
  return ended && { state: "duplicate", ended };
}

function refuse(document: SessionDocument, { text, meta }: LaneEvent): void {
  refuseClosing(document);
  if (text.trim() === "") throw new ArgusError("InvalidInput", "Missing 'text'");
  const bytes = Buffer.byteLength(text);
  if (bytes > MAX_EVENT_BYTES) {
    const message = `An event may have at most ${MAX_EVENT_BYTES} bytes; this one has ${bytes}. Put the rest where the agent can read it and name the place.`;
    throw new ArgusError("TooLarge", message, { bytes, limit: MAX_EVENT_BYTES });
  }
  if (meta !== undefined && Buffer.byteLength(meta) > MAX_EVENT_META_BYTES) {
    const message = `The meta of an event may have at most ${MAX_EVENT_META_BYTES} bytes as JSON.`;
    throw new ArgusError("TooLarge", message, { limit: MAX_EVENT_META_BYTES });
  }
}

function demandPlace({ events }: SessionDocument, { source }: LaneEvent, ofSource: number): void {
  const full = (message: string) => new ArgusError("Busy", message, { source: source.name });
  if (ofSource >= MAX_EVENTS_PER_SOURCE) {
    throw full(
      `${ofSource} events of ${source.name} wait already: this one was not taken. Send fewer, or try again later.`,
    );
  }
  if (events.length >= MAX_OPEN_EVENTS) {
    throw full(
      `${events.length} events wait in this session already: this one was not taken. Try again later.`,
    );
  }
}

interface Policied {
  now: number;
  limit: number;
}

function skip(
  document: SessionDocument,
  event: LaneEvent,
  { now, limit, active }: Policied & { active: LaneEvent },
): Reduced<SessionDocument, EventAccepted> {
  const since = new Date(active.createdAt).toISOString();
  const reason = `still active: the event of ${active.slot ?? since} has not ended`;
  const ended = endedOf(event, { state: "skipped", reason, now });
  const after = { ...document, endedEvents: [...document.endedEvents, ended] };
  return { document: expire(after, now, limit), answer: { state: "skipped", reason } };
}

/** The newcomer takes the place of the one that still waits, so nothing overtakes anything. */
function replace(
  document: SessionDocument,
  event: LaneEvent,
  { now, limit, queued }: Policied & { queued: LaneEvent },
): Reduced<SessionDocument, EventAccepted> {
  const reason = `replaced by the event of ${event.slot ?? new Date(now).toISOString()}`;
  const ended = endedOf(queued, { state: "skipped", reason, now });
  const after = {
    ...document,
    events: document.events.map((each) => (each === queued ? event : each)),
    endedEvents: [...document.endedEvents, ended],
  };
  demandRoom(document, bytesOf(event) - bytesOf(queued), limit);
  return { document: expire(after, now, limit), answer: { state: "queued", event } };
}

function endedOf(
  { id, key, kind, source, slot, text }: LaneEvent,
  { state, reason, now }: { state: EndedEvent["state"]; reason: string; now: number },
): EndedEvent {
  return {
    id,
    key,
    kind,
    source,
    ...(slot === undefined ? {} : { slot }),
    state,
    reason: reasonOf(reason),
    endedAt: now,
    ...(state === "dead" ? { text } : {}),
  };
}

/** How the turn ended that told the events. `again`: no tool ran, so another try does nothing twice. */
export interface EventsEnd {
  ids: readonly string[];
  outcome: "done" | "again" | "dead";
  reason: string;
  now: number;
  limit: number;
}

/** Acknowledges the events of a turn, lets them wait for another try, or gives them up. Answers those that were given up. */
export function endEvents(
  document: SessionDocument,
  { ids, outcome, reason, now, limit }: EventsEnd,
): Reduced<SessionDocument, EndedEvent[]> {
  const told = new Set(ids);
  const open: LaneEvent[] = [];
  const ended: EndedEvent[] = [];
  for (const event of document.events) {
    if (!told.has(event.id)) open.push(event);
    else if (outcome === "again" && event.tries < MAX_EVENT_RETRIES)
      open.push(waiting(event, reason, now));
    else ended.push(endedOf(event, { state: outcome === "done" ? "done" : "dead", reason, now }));
  }
  const after = { ...document, events: open, endedEvents: [...document.endedEvents, ...ended] };
  return {
    document: expire(after, now, limit),
    answer: ended.filter(({ state }) => state === "dead"),
  };
}

/** How long the event waits before its next turn, ms. */
export function pauseBefore({ tries }: Pick<LaneEvent, "tries">): number {
  return RETRY_MS[tries - 1] ?? 0;
}

function waiting(event: LaneEvent, reason: string, now: number): LaneEvent {
  const tries = event.tries + 1;
  return { ...event, tries, notBefore: now + pauseBefore({ tries }), reason: reasonOf(reason) };
}

/** Accepts a dead event once more under its own key; its former end is forgotten with it. */
export function replayEvent(
  document: SessionDocument,
  { key, id, now, limit }: { key: string; id: string; now: number; limit: number },
): Reduced<SessionDocument, EventAccepted> {
  const dead = document.endedEvents.find((each) => each.key === key && each.state === "dead");
  if (dead?.text === undefined) {
    const message = `There is no dead event ${key} whose text is still kept: post it anew.`;
    throw new ArgusError("InvalidInput", message, { key });
  }
  const { kind, source, slot, text } = dead;
  const endedEvents = document.endedEvents.filter((each) => each !== dead);
  const wanted = {
    id,
    key,
    kind,
    source,
    text,
    threadId: null,
    wakes: true,
    ...(slot ? { slot } : {}),
  };
  return enqueueEvent({ ...document, endedEvents }, { ...wanted, policy: "Allow", now, limit });
}

/** What is known of an event by its key; undefined = never seen, or forgotten. */
export function findEvent(
  { events, endedEvents, turn }: SessionDocument,
  key: string,
):
  | { state: "queued" | "running"; event: LaneEvent }
  | { state: "ended"; ended: EndedEvent }
  | undefined {
  const event = events.find((each) => each.key === key);
  if (event) return { state: turn?.eventIds.includes(event.id) ? "running" : "queued", event };
  const ended = endedEvents.findLast((each) => each.key === key);
  return ended && { state: "ended", ended };
}

/** A person gives up an event that waits, or forgets the words of a dead one: then it cannot be replayed any more. */
export function dropEvent(
  document: SessionDocument,
  { key, now, limit }: { key: string; now: number; limit: number },
): Reduced<SessionDocument, "dropped" | "running" | "unknown"> {
  const found = findEvent(document, key);
  if (!found) return { document, answer: "unknown" };
  if (found.state === "running") return { document, answer: "running" };
  if ("event" in found) {
    const { event } = found;
    const ended = endedOf(event, { state: "dead", reason: "dropped by a person", now });
    const events = document.events.filter((each) => each !== event);
    const after = { ...document, events, endedEvents: [...document.endedEvents, ended] };
    return { document: expire(after, now, limit), answer: "dropped" };
  }
  const { ended } = found;
  if (ended.state !== "dead") return { document, answer: "unknown" };
  const { text: _, ...wordless } = ended;
  const endedEvents = document.endedEvents.map((each) => (each === ended ? wordless : each));
  return { document: { ...document, endedEvents }, answer: "dropped" };
}
