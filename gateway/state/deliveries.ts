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

const REST = "\n\n… (cut: the whole answer stands in the session's thread)";

export interface NewDelivery
  extends Pick<
    Delivery,
    "id" | "target" | "kind" | "inputId" | "threadId" | "turnId" | "text" | "canRetry"
  > {
  now: number;
  limit: number;
}

/** Never refused: open entries reserved the room. A text over its bounds is cut and says so. */
export function addDelivery(
  document: SessionDocument,
  { now, limit, text, ...rest }: NewDelivery,
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

/** Gives up what could not be sent for too long. The same document when nothing is so old. */
export function expireDeliveries(
  document: SessionDocument,
  now: number,
  limit: number,
): SessionDocument {
  const old = document.deliveries.filter(({ createdAt, claim, sending }) => {
    const isBusy = sending !== null || (claim !== null && claim.until > now);
    return now - createdAt > MAX_DELIVERY_AGE_MS && !isBusy;
  });
  return old.reduce((before, each) => {
    const dead = `could not be sent for ${MAX_DELIVERY_AGE_MS / 3_600_000} hours: ${each.reason || "no adapter of its channel is connected"}`;
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
