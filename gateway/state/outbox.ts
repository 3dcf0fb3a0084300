import { ArgusError } from "#lib/errors.ts";
import type { PartOutcome } from "#protocol/channel.ts";
import {
  AMBIGUOUS_WAIT_MS,
  type Delivery,
  type EndedDelivery,
  MAX_PARTS,
  type SendMode,
} from "#protocol/delivery.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import { closeDelivery } from "./deliveries.ts";
import type { Reduced } from "./document.ts";
import { reasonOf } from "./room.ts";

// The sending of deliveries by adapters that may crash at any moment. Pure.

const RETRY = { baseMs: 1000, maxMs: 5 * 60_000 };
/** An adapter process: a restarted one has a higher epoch and knows nothing of what the former was doing. */
export interface Claimant {
  adapter: string;
  epoch: number;
}

/** The first delivery of each chat that may be sent now: order within a chat is kept by never offering a second one. */
export function claimable(
  { deliveries }: SessionDocument,
  channel: string,
  by: Claimant,
  now: number,
): Delivery[] {
  const chats = new Set<string>();
  return deliveries.filter(({ target, notBefore, claim }) => {
    if (target.channel !== channel || chats.has(target.chatKey)) return false;
    chats.add(target.chatKey);
    return notBefore <= now && !isHeld(claim, by, now);
  });
}

/** A lease holds against other adapters until it ends, but not against its own successor. */
export function isHeld(
  claim: Delivery["claim"],
  { adapter, epoch }: Claimant,
  now: number,
): boolean {
  return claim !== null && claim.until > now && !(claim.adapter === adapter && claim.epoch < epoch);
}

/** Takes a delivery for `leaseMs`. Undefined: somebody else has it, it ended, or its time has not come. */
export function claim(
  document: SessionDocument,
  {
    id,
    by,
    channel,
    leaseMs,
    now,
    limit,
  }: { id: string; by: Claimant; channel: string; leaseMs: number; now: number; limit: number },
): Reduced<SessionDocument, Delivery | undefined> {
  const found = claimable(document, channel, by, now).find((each) => each.id === id);
  if (!found) return { document, answer: undefined };
  // Whoever held it is gone: a part that was on its way may have arrived.
  const settled = found.sending
    ? unclear(found, "the adapter ended while it was sent", now)
    : found;
  const isOver = settled.parts !== null && settled.sent.length >= settled.parts;
  if (isOver)
    return { document: closeDelivery(document, settled, { now, limit }), answer: undefined };
  if (settled.notBefore > now)
    return { document: put(document, { ...settled, claim: null }), answer: undefined };
  const delivery = { ...settled, claim: { ...by, until: now + leaseMs } };
  return { document: put(document, delivery), answer: delivery };
}

function put(document: SessionDocument, delivery: Delivery): SessionDocument {
  const deliveries = document.deliveries.map((each) => (each.id === delivery.id ? delivery : each));
  return { ...document, deliveries };
}

/** The claimed delivery. Throws `Conflict` when the lease is not the caller's (any more): it must not send. */
function held({ deliveries }: SessionDocument, id: string, by: Claimant): Delivery {
  const found = deliveries.find((each) => each.id === id);
  if (found?.claim?.adapter === by.adapter && found.claim.epoch === by.epoch) return found;
  const message = `Delivery ${id} is not claimed by ${by.adapter} (any more): claim it again before anything is sent.`;
  throw new ArgusError("Conflict", message, { delivery: id });
}

export interface Sending {
  id: string;
  by: Claimant;
  /** Which part it is about; a repeat changes nothing. */
  part?: number | undefined;
  mode: SendMode;
  /** How many parts the text has; the same for every part. */
  parts: number;
  leaseMs: number;
  now: number;
}

/** Committed before the request of the next part leaves. */
export function sendingPart(
  document: SessionDocument,
  { id, by, part, mode, parts, leaseMs, now }: Sending,
): Reduced<SessionDocument, Delivery> {
  const found = held(document, id, by);
  const isNext = part === undefined || part === found.sent.length;
  if (!isNext) throw wrongPart(found, part);
  // Its answer was lost: nothing has left, or the outcome would be asked for instead.
  if (found.sending && part !== undefined) return { document, answer: found };
  if (found.sending)
    throw new ArgusError("Conflict", `A part of delivery ${id} is on its way already.`, {
      delivery: id,
    });
  if (parts < found.sent.length + 1 || parts > MAX_PARTS) {
    throw new ArgusError(
      "InvalidInput",
      `Delivery ${id} cannot have ${parts} parts: ${found.sent.length} are over, ${MAX_PARTS} is the most.`,
    );
  }
  const claim = { ...by, until: now + leaseMs };
  const delivery = { ...found, parts, claim, sending: { mode, since: now } };
  return { document: put(document, delivery), answer: delivery };
}

function wrongPart({ id, sent }: Delivery, part: number): ArgusError {
  const words = `Part ${part} of delivery ${id} is not the next one: ${sent.length} are over.`;
  return new ArgusError("Conflict", words, { delivery: id, part });
}

interface Outcome {
  id: string;
  by: Claimant;
  /** Which part it is about; a repeat changes nothing. */
  part?: number | undefined;
  outcome: PartOutcome;
  now: number;
  limit: number;
}

/** Commits the outcome. Answers the delivery while it is open, or how it ended. A refusal needs no part on its way. */
export function partOutcome(
  document: SessionDocument,
  { id, by, part, outcome, now, limit }: Outcome,
): Reduced<SessionDocument, Delivery | EndedDelivery> {
  const found = held(document, id, by);
  if (part !== undefined && part < found.sent.length) return { document, answer: found };
  if (part !== undefined && part > found.sent.length) throw wrongPart(found, part);
  if (!found.sending && outcome.state !== "refused")
    throw new ArgusError("Conflict", `No part of delivery ${id} is on its way.`, { delivery: id });
  const next = after(found, outcome, now);
  const isOver = next.parts !== null && next.sent.length >= next.parts;
  if (outcome.state !== "refused" && !isOver)
    return { document: put(document, next), answer: next };
  const closed = closeDelivery(document, next, {
    now,
    limit,
    ...(outcome.state === "refused" ? { dead: outcome.reason } : {}),
  });
  const answer = closed.endedDeliveries.at(-1);
  return { document: closed, answer: answer ?? next };
}

function after(delivery: Delivery, outcome: PartOutcome, now: number): Delivery {
  if (outcome.state === "sent") return passed(delivery, outcome.ref);
  if (outcome.state === "unknown") return unclear(delivery, outcome.reason, now);
  const retryMs =
    outcome.state === "notSent" ? (outcome.retryAfterMs ?? backoff(delivery.attempts)) : 0;
  const isLost = outcome.state === "notSent" && outcome.editLost;
  return {
    ...(isLost ? withoutEdit(delivery) : delivery),
    sending: null,
    claim: null,
    attempts: delivery.attempts + 1,
    reason: reasonOf(outcome.reason),
    notBefore: now + retryMs,
    pauseMs: retryMs,
  };
}

function withoutEdit(delivery: Delivery): Delivery {
  const copy = { ...delivery };
  delete copy.editRef;
  return copy;
}

function backoff(attempts: number): number {
  return Math.min(RETRY.maxMs, RETRY.baseMs * 2 ** Math.min(attempts, 20));
}

function passed(delivery: Delivery, ref: string | null): Delivery {
  return {
    ...delivery,
    sending: null,
    again: false,
    attempts: 0,
    notBefore: 0,
    sent: [...delivery.sent, ref],
  };
}

/** Nobody knows whether the part arrived: an edit is repeated, a person's answer sent once more, anything else left. */
function unclear(delivery: Delivery, reason: string, now: number): Delivery {
  const { sending, again, kind } = delivery;
  const why = { reason: reasonOf(reason), sending: null, claim: null };
  if (sending?.mode === "edit")
    return { ...delivery, ...why, notBefore: now + RETRY.baseMs, pauseMs: RETRY.baseMs };
  const isRepeated = !again && (kind === "message" || kind === "notice");
  if (isRepeated) return { ...delivery, ...why, again: true, notBefore: now + AMBIGUOUS_WAIT_MS };
  // Its claim stays with whoever holds it: the next part may follow at once.
  return { ...passed(delivery, null), reason: why.reason, claim: delivery.claim };
}

/** Gives a claim back without having sent anything. */
export function release(document: SessionDocument, id: string, by: Claimant): SessionDocument {
  const found = document.deliveries.find((each) => each.id === id);
  const isHeldBy = found?.claim?.adapter === by.adapter && found.claim.epoch === by.epoch;
  return found && isHeldBy && !found.sending ? put(document, { ...found, claim: null }) : document;
}

/** The lease begins anew. Throws `Conflict` as every other step of one that does not hold it. */
export function renew(
  document: SessionDocument,
  { id, by, leaseMs, now }: { id: string; by: Claimant; leaseMs: number; now: number },
): SessionDocument {
  return put(document, { ...held(document, id, by), claim: { ...by, until: now + leaseMs } });
}
