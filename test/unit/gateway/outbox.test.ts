import { expect, test } from "vitest";
import { addDelivery, expireDeliveries, retryDelivery } from "#gateway/state/deliveries.ts";
import {
  type Claimant,
  claim,
  claimable,
  partOutcome,
  release,
  sendingPart,
} from "#gateway/state/outbox.ts";
import { AMBIGUOUS_WAIT_MS, MAX_DELIVERY_AGE_MS } from "#protocol/delivery.ts";
import { emptyDocument, type SessionDocument } from "#protocol/session-document.ts";

const limit = 2 * 1024 * 1024;
const BOT: Claimant = { adapter: "bot", epoch: 1 };
const NEXT: Claimant = { adapter: "bot", epoch: 2 };
const leaseMs = 60_000;
const facts = { inputId: null, threadId: null, turnId: null, canRetry: false, limit };

function add(
  document: SessionDocument,
  id: string,
  chatKey = "1",
  kind: "message" | "events" = "message",
) {
  const target = { channel: "t", chatKey };
  return addDelivery(document, { ...facts, id, target, kind, text: `text ${id}`, now: 0 }).document;
}
function claimed(
  document: SessionDocument,
  id: string,
  by: Claimant,
  now: number,
): SessionDocument {
  return claim(document, { id, by, channel: "t", leaseMs, now, limit }).document;
}
function sending(document: SessionDocument, id: string, by: Claimant, now: number) {
  return sendingPart(document, { id, by, mode: "send", parts: 2, leaseMs, now }).document;
}
const EMPTY = emptyDocument("s");

test("parts go one after another; the last one ends the delivery", () => {
  let document = claimed(add(EMPTY, "a"), "a", BOT, 1);
  for (const ref of ["m1", "m2"]) {
    document = sending(document, "a", BOT, 2);
    const outcome = { state: "sent", ref } as const;
    document = partOutcome(document, { id: "a", by: BOT, outcome, now: 3, limit }).document;
  }
  expect(document.deliveries).toEqual([]);
  expect(document.endedDeliveries).toMatchObject([
    { id: "a", state: "delivered", unclear: 0, ref: "m1" },
  ]);
});

test("a chat's second delivery is not offered before its first has ended; other chats are", () => {
  const document = add(add(add(EMPTY, "a"), "b"), "c", "2");
  expect(claimable(document, "t", BOT, 1).map(({ id }) => id)).toEqual(["a", "c"]);
  expect(
    claim(document, { id: "b", by: BOT, channel: "t", leaseMs, now: 1, limit }).answer,
  ).toBeUndefined();
  expect(claimable(document, "other", BOT, 1)).toEqual([]);
});

test("a lease keeps others away until it ends; a restarted adapter takes its own back at once", () => {
  const document = claimed(add(EMPTY, "a"), "a", BOT, 1);
  const other = { adapter: "second", epoch: 9 };
  expect(claimable(document, "t", other, 2)).toEqual([]);
  expect(claimable(document, "t", NEXT, 2)).toHaveLength(1);
  expect(claimable(document, "t", other, 1 + leaseMs)).toHaveLength(1);
  expect(() => sending(claimed(document, "a", NEXT, 2), "a", BOT, 3)).toThrow("not claimed");
  expect(claimable(release(document, "a", BOT), "t", other, 2)).toHaveLength(1);
});

test("a send whose fate is unknown is repeated once, marked, after 30 s, and never a third time", () => {
  let document = sending(claimed(add(EMPTY, "a"), "a", BOT, 1), "a", BOT, 2);
  // The adapter dies; its successor may not send at once.
  const early = claim(document, { id: "a", by: NEXT, channel: "t", leaseMs, now: 3, limit });
  expect(early.answer).toBeUndefined();
  expect(early.document.deliveries[0]).toMatchObject({
    again: true,
    notBefore: 3 + AMBIGUOUS_WAIT_MS,
  });
  const later = 3 + AMBIGUOUS_WAIT_MS;
  document = sending(claimed(early.document, "a", NEXT, later), "a", NEXT, later);
  const outcome = { state: "unknown", reason: "no answer" } as const;
  document = partOutcome(document, { id: "a", by: NEXT, outcome, now: later, limit }).document;
  expect(document.deliveries[0]).toMatchObject({ sent: [null], again: false, notBefore: 0 });
  document = sending(document, "a", NEXT, later);
  const sent = { state: "sent", ref: "m2" } as const;
  document = partOutcome(document, {
    id: "a",
    by: NEXT,
    outcome: sent,
    now: later,
    limit,
  }).document;
  expect(document.endedDeliveries).toMatchObject([{ state: "ambiguous", unclear: 1, ref: "m2" }]);
});

test("an unclear edit is repeated as it is; an unclear part of an event is left", () => {
  const unknown = { state: "unknown", reason: "cut" } as const;
  const edit = sendingPart(claimed(add(EMPTY, "a"), "a", BOT, 1), {
    id: "a",
    by: BOT,
    mode: "edit",
    parts: 2,
    leaseMs,
    now: 2,
  }).document;
  const repeated = partOutcome(edit, {
    id: "a",
    by: BOT,
    outcome: unknown,
    now: 3,
    limit,
  }).document;
  expect(repeated.deliveries[0]).toMatchObject({ sent: [], again: false, sending: null });
  const event = sending(claimed(add(EMPTY, "e", "1", "events"), "e", BOT, 1), "e", BOT, 2);
  const left = partOutcome(event, { id: "e", by: BOT, outcome: unknown, now: 3, limit }).document;
  expect(left.deliveries[0]).toMatchObject({ sent: [null], again: false });
});

test("retry_after outlives everything; a refusal ends the delivery with its reason and can be sent again by a person", () => {
  const document = sending(claimed(add(EMPTY, "a"), "a", BOT, 1), "a", BOT, 2);
  const slow = { state: "notSent", reason: "429", retryAfterMs: 35_000 } as const;
  const waiting = partOutcome(document, {
    id: "a",
    by: BOT,
    outcome: slow,
    now: 10,
    limit,
  }).document;
  expect(claimable(waiting, "t", NEXT, 35_009)).toEqual([]);
  expect(claimable(waiting, "t", NEXT, 35_010)).toHaveLength(1);
  const no = { state: "refused", reason: "the chat blocked the bot" } as const;
  const dead = partOutcome(document, { id: "a", by: BOT, outcome: no, now: 10, limit }).document;
  expect(dead.endedDeliveries).toMatchObject([
    { state: "dead", reason: no.reason, text: "text a" },
  ]);
  const again = retryDelivery(dead, { id: "a", now: 11, limit }).document;
  expect(again.deliveries).toMatchObject([{ id: "a", text: "text a" }]);
  expect(() => retryDelivery(again, { id: "a", now: 12, limit })).toThrow("no dead delivery");
});

test("what no adapter takes for a day is given up with its reason", () => {
  const document = add(EMPTY, "a");
  expect(expireDeliveries(document, MAX_DELIVERY_AGE_MS, limit)).toBe(document);
  const dead = expireDeliveries(document, MAX_DELIVERY_AGE_MS + 1, limit);
  expect(dead.endedDeliveries).toMatchObject([
    { state: "dead", reason: expect.stringContaining("no adapter") },
  ]);
});
