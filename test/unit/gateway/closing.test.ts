import { expect, test } from "vitest";
import { closeAll } from "#gateway/state/closing.ts";
import { enqueueEvent } from "#gateway/state/events.ts";
import { enqueue } from "#gateway/state/inputs.ts";
import { begin } from "#gateway/state/turns.ts";
import { emptyDocument, type SessionDocument } from "#protocol/session-document.ts";

const times = { now: 1000, limit: 2 ** 21 };
const chat = (chatKey: string) => ({ channel: "telegram", chatKey });

function busy() {
  const inputs = [
    { id: "a", source: chat("1") },
    { id: "b", source: chat("2") },
    { id: "c", source: chat("1") },
    { id: "d", source: null },
  ];
  const written = inputs.reduce<SessionDocument>(
    (document, input) =>
      enqueue(document, { ...input, key: input.id, text: "x", threadId: null, ...times }).document,
    { ...emptyDocument("main"), home: chat("9") },
  );
  const event = {
    id: "e",
    key: "e",
    kind: "cron",
    text: "x",
    threadId: null,
    wakes: true,
  } as const;
  const source = { name: "hourly", uid: "u" };
  const { document } = enqueueEvent(written, { ...event, source, policy: "Allow", ...times });
  const plan = { id: "a", kind: "message" as const, inputId: "a", eventIds: [], threadId: null };
  return begin(document, plan, times.now).document;
}

test("everything that is open ends with a reason, each chat is told once, and nothing is taken any more", () => {
  const { document, answer } = closeAll(busy(), times);
  expect(document).toMatchObject({ closing: true, turn: null, inputs: [], events: [] });
  expect(document.ended.map(({ id, state }) => [id, state])).toEqual([
    ["a", "interrupted"],
    ["b", "failed"],
    ["c", "failed"],
    ["d", "failed"],
  ]);
  expect(document.endedEvents).toMatchObject([
    { state: "dead", reason: "the session was deleted" },
  ]);
  expect(answer.inputs).toEqual(document.ended);
  expect(answer.events).toBe(1);
  expect(document.deliveries.map(({ target, text }) => [target.chatKey, text])).toEqual([
    ["1", "⏹ The session was deleted: 2 messages of yours will not be answered."],
    ["2", "⏹ The session was deleted: 1 message of yours will not be answered."],
    ["9", "⏹ The session was deleted: 1 event will not be looked at."],
  ]);
  const late = { id: "z", key: "z", text: "x", threadId: null, source: null, ...times };
  expect(() => enqueue(document, late)).toThrow("being deleted");
});

test("a second end changes nothing", () => {
  const { document } = closeAll(busy(), times);
  expect(closeAll(document, times).document).toBe(document);
});
