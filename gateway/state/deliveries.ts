import { ArgusError } from "#lib/errors.ts";
import {
  type Delivery,
  type EndedDelivery,
  MAX_DELIVERY_AGE_MS,
  MAX_DELIVERY_BYTES,
} from "#protocol/delivery.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import type { Reduced } from "./document.ts";
import { cutText, expire, RESERVED_BYTES, reasonOf, roomForAnswer } from "./room.ts";

// Deliveries from their making to their end. Pure.

const NOBODY = "no adapter of its channel is connected";
const REST = "\n\n… (cut: the whole answer stands in the session's thread)";

export interface NewDelivery
  extends Pick<
    Delivery,
    "id" | "target" | "kind" | "inputId" | "threadId" | "turnId" | "text" | "canRetry"
  > {
  editRef?: string | undefined;
  now: number;
  limit: number;
}

/** Never refused: open entries reserved the room. A text over its bounds is cut and says so. */
export function addDelivery(
  document: SessionDocument,
  { now, limit, text, editRef, ...rest }: NewDelivery,
): Reduced<SessionDocument, Delivery> {
  // JSON may need more bytes than the text: half of the room is safe for all but control characters.
  const room = Math.max(RESERVED_BYTES - 1024, Math.floor(roomForAnswer(document, limit) / 2));
  const delivery: Delivery = {
    ...rest,
    text: cutText(text, Math.min(MAX_DELIVERY_BYTES, room), REST),
    createdAt: now,
    notBefore: 0,
    attempts: 0,
    reason: "",
    claim: null,
    parts: null,
    sent: [],
    sending: null,
    again: false,
    ...(editRef === undefined ? {} : { editRef }),
  };
  return {
    document: { ...document, deliveries: [...document.deliveries, delivery] },
    answer: delivery,
  };
}

interface Closing {
  now: number;
  limit: number;
  dead?: string;
}

/** Ends a delivery. `dead`: why it was given up. */
export function closeDelivery(
  document: SessionDocument,
  delivery: Delivery,
  { now, limit, dead }: Closing,
): SessionDocument {
  const { id, target, inputId, sent, text } = delivery;
  const lost = sent.filter((ref) => ref === null).length;
  const ended: EndedDelivery = {
    id,
    target,
    inputId,
    state: dead !== undefined ? "dead" : lost > 0 ? "ambiguous" : "delivered",
    unclear: lost,
    reason: reasonOf(dead ?? (lost > 0 ? delivery.reason : "")),
    ref: sent.find((ref) => ref !== null) ?? null,
    endedAt: now,
    ...(dead === undefined ? {} : { text }),
  };
  const deliveries = document.deliveries.filter((each) => each.id !== id);
  const closed = { ...document, deliveries, endedDeliveries: [...document.endedDeliveries, ended] };
  return expire(closed, now, limit);
}

/** The delivery is given up after this time, when whoever holds it has not ended it before. */
export function expiresAt({ createdAt, claim }: Delivery): number {
  return Math.max(createdAt + MAX_DELIVERY_AGE_MS, claim?.until ?? 0);
}

/** Gives up what could not be sent for too long. The same document when nothing is so old. */
export function expireDeliveries(
  document: SessionDocument,
  now: number,
  limit: number,
): SessionDocument {
  const old = document.deliveries.filter((each) => expiresAt(each) < now);
  return old.reduce((before, each) => {
    const doubt = each.sending ? "; a part of it may have arrived" : "";
    const dead = `could not be sent for ${MAX_DELIVERY_AGE_MS / 3_600_000} hours: ${each.reason || NOBODY}${doubt}`;
    return closeDelivery(before, each, { now, limit, dead });
  }, document);
}

/** Sends a dead delivery once more. Throws `InvalidInput` when there is none whose text is kept. */
export function retryDelivery(
  document: SessionDocument,
  { id, now, limit }: { id: string; now: number; limit: number },
): Reduced<SessionDocument, Delivery> {
  const dead = document.endedDeliveries.find((each) => each.id === id && each.state === "dead");
  if (dead?.text === undefined) {
    throw new ArgusError(
      "InvalidInput",
      `There is no dead delivery ${id} whose text is still kept.`,
      { delivery: id },
    );
  }
  const endedDeliveries = document.endedDeliveries.filter((each) => each !== dead);
  const { target, inputId, text } = dead;
  const facts = {
    kind: "message",
    threadId: null,
    turnId: null,
    canRetry: false,
    now,
    limit,
  } as const;
  return addDelivery({ ...document, endedDeliveries }, { id, target, inputId, text, ...facts });
}

/**
 * A person wants it sent now: a dead one once more, a waiting one without the rest of its pause. The wait after an unclear
 * send stays. Throws as {@link retryDelivery}.
 */
export function sendNow(
  document: SessionDocument,
  facts: { id: string; now: number; limit: number },
): Reduced<SessionDocument, Delivery> {
  const open = document.deliveries.find(({ id }) => id === facts.id);
  if (!open) return retryDelivery(document, facts);
  if (open.again || open.notBefore <= facts.now) return { document, answer: open };
  const sooner = { ...open, notBefore: 0 };
  const deliveries = document.deliveries.map((each) => (each === open ? sooner : each));
  return { document: { ...document, deliveries }, answer: sooner };
}

/** A person gives it up. Throws `InvalidInput` when it is not open, `Busy` while an adapter is at it. */
export function dropDelivery(
  document: SessionDocument,
  { id, reason, now, limit }: { id: string; reason: string; now: number; limit: number },
): SessionDocument {
  const open = document.deliveries.find((each) => each.id === id);
  if (!open) {
    throw new ArgusError("InvalidInput", `There is no open delivery ${id}.`, { delivery: id });
  }
  if (open.claim && open.claim.until > now) {
    const words = `Delivery ${id} is being sent by ${open.claim.adapter}: try again in a minute.`;
    throw new ArgusError("Busy", words, { delivery: id });
  }
  return closeDelivery(document, open, { now, limit, dead: reason });
}

export interface DeliveriesHealth {
  /** Open ones. */
  open: number;
  /** When the oldest open one was made, ms since the epoch; null = none is open. */
  oldestSince: number | null;
  /** Why the oldest is not sent yet, in words; empty = nothing holds it up. */
  reason: string;
}

/** What a condition about the session's deliveries says. */
export function deliveriesHealth({ deliveries }: SessionDocument, now: number): DeliveriesHealth {
  const [first] = deliveries;
  if (!first) return { open: 0, oldestSince: null, reason: "" };
  const oldest = deliveries.reduce(
    (old, each) => (each.createdAt < old.createdAt ? each : old),
    first,
  );
  return { open: deliveries.length, oldestSince: oldest.createdAt, reason: waitsFor(oldest, now) };
}

/** Why an open delivery is not sent yet, in words; empty while an adapter is at it. */
export function waitsFor(
  { claim, reason, notBefore, again, target }: Delivery,
  now: number,
): string {
  if (claim && claim.until > now) return "";
  const until = notBefore > now ? `; tried again at ${new Date(notBefore).toISOString()}` : "";
  if (again) return `${reason}; nobody knows whether it arrived, it is sent once more${until}`;
  return reason ? `${reason}${until}` : `no adapter of channel ${target.channel} has taken it yet`;
}
