import { LEASE_MS } from "#protocol/channel.ts";
import { AMBIGUOUS_WAIT_MS, type Delivery } from "#protocol/delivery.ts";
import type { LaneEvent } from "#protocol/lane-entry.ts";
import type { QueuedCall } from "#protocol/queued-call.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import { pauseBefore } from "./events.ts";

// What a wall clock that was set back left in a document. Pure.

/** A clock that is slewed moves by less; pauses are not that exact. */
const SLACK_MS = 5000;

/**
 * The document with no wait longer than it was meant to be: times that a clock wrote before it was set back lie too far ahead, and
 * what waits for them would wait for the difference too. The same object when there are none. A clock that was set forward needs
 * nothing: its waits end early, which harms nobody.
 */
export function afterClock(document: SessionDocument, now: number): SessionDocument {
  const { heartbeat } = document;
  const events = each(document.events, (event) => sooner(event, now));
  const deliveries = each(document.deliveries, (delivery) => freed(sent(delivery, now), now));
  const calls = each(document.calls, (call) => queuedNow(call, now));
  const isBeatAhead = heartbeat.lastAt > now + SLACK_MS;
  const isSame =
    events === document.events && deliveries === document.deliveries && calls === document.calls;
  if (isSame && !isBeatAhead) return document;
  return {
    ...document,
    events,
    deliveries,
    calls,
    heartbeat: isBeatAhead ? { ...heartbeat, lastAt: now } : heartbeat,
  };
}

/** The same list when nothing of it changes. */
function each<T>(list: T[], change: (entry: T) => T): T[] {
  const next = list.map(change);
  return next.every((entry, index) => entry === list[index]) ? list : next;
}

function sooner(event: LaneEvent, now: number): LaneEvent {
  const latest = now + pauseBefore(event);
  return event.notBefore > latest + SLACK_MS ? { ...event, notBefore: latest } : event;
}

function queuedNow(call: QueuedCall, now: number): QueuedCall {
  if (call.queuedAt <= now + SLACK_MS) return call;
  return { ...call, queuedAt: now, expiresAt: now + call.expiresAt - call.queuedAt };
}

function sent(delivery: Delivery, now: number): Delivery {
  const latest =
    now + (delivery.again ? AMBIGUOUS_WAIT_MS : (delivery.pauseMs ?? Number.POSITIVE_INFINITY));
  return delivery.notBefore > latest + SLACK_MS ? { ...delivery, notBefore: latest } : delivery;
}

function freed(delivery: Delivery, now: number): Delivery {
  const { claim } = delivery;
  const until = now + LEASE_MS;
  if (!claim || claim.until <= until + SLACK_MS) return delivery;
  return { ...delivery, claim: { ...claim, until } };
}
