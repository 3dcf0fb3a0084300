import { expect, test } from "vitest";
import { addDelivery } from "#gateway/state/deliveries.ts";
import { enqueue, shownBy } from "#gateway/state/inputs.ts";
import { emptyDocument } from "#protocol/session-document.ts";

const limit = 1_000_000;
const message = (id: string, chatKey: string) => {
  const source = { channel: "telegram", chatKey };
  return { id, key: id, text: id, threadId: null, source, now: 1, limit };
};

test("a status message becomes the answer only while no earlier answer to its chat is still to come", () => {
  const first = enqueue(emptyDocument("s"), message("in-1", "7")).document;
  const both = enqueue(first, message("in-2", "8")).document;
  const facts = { threadId: null, turnId: null, canRetry: false, now: 2, limit };
  const target = { channel: "telegram", chatKey: "7" };
  const earlier = { id: "out-0", kind: "message", text: "earlier", inputId: "in-0" } as const;
  const waiting = addDelivery(both, { ...facts, ...earlier, target }).document;
  expect(shownBy(both, { inputId: "in-1", ref: "m" }).answer).toBe(true);
  expect(shownBy(waiting, { inputId: "in-1", ref: "m" })).toEqual({
    document: waiting,
    answer: false,
  });
  expect(shownBy(waiting, { inputId: "in-2", ref: "m" }).answer).toBe(true);
  expect(shownBy(waiting, { inputId: "in-0", ref: "m" }).answer).toBe(true);
});
