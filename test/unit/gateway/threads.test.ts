import { expect, test } from "vitest";
import { changeThread, firstThread, leaveHome, setHome } from "#gateway/state/threads.ts";
import { emptyDocument, type SessionDocument } from "#protocol/session-document.ts";

const doc = (more: Partial<SessionDocument> = {}): SessionDocument => ({
  ...emptyDocument("main"),
  ...more,
});
const input = (id: string, threadId: string | null) => ({
  id,
  key: id,
  text: "x",
  threadId,
  source: null,
  enqueuedAt: 1,
});
const chat = (chatKey: string) => ({ channel: "telegram", chatKey });

test("whoever makes the first thread chooses it for all", () => {
  const { document, answer } = firstThread(doc(), "t1");
  expect([answer, document.mainThread]).toEqual(["t1", "t1"]);
  expect(firstThread(document, "t2")).toEqual({ document, answer: "t1" });
});

test("messages that wait stay in the conversation that they were sent to; events go along", () => {
  const event = { threadId: null } as SessionDocument["events"][number];
  const inputs = [input("a", null), input("b", "t9")];
  const before = doc({ mainThread: "t1", inputs, events: [event] });
  const { document, answer } = changeThread(before, { threadId: null });
  expect(answer).toEqual({ former: "t1", changed: true });
  expect(document.mainThread).toBeNull();
  expect(document.inputs.map(({ threadId }) => threadId)).toEqual(["t1", "t9"]);
  expect(document.events).toEqual([event]);
});

test("a repeat of the same command leaves the conversation that was begun meanwhile alone", () => {
  const reset = { threadId: null, key: "tg:1" };
  const first = changeThread(doc({ mainThread: "t1" }), reset);
  const spoken = { ...first.document, mainThread: "t2" };
  expect(changeThread(spoken, reset)).toEqual({
    document: spoken,
    answer: { former: "t2", changed: false },
  });
  expect(changeThread(spoken, { ...reset, key: "tg:2" }).document.mainThread).toBeNull();
});

test("a session that is being deleted takes no other thread and no chat", () => {
  const closing = doc({ closing: true });
  expect(() => changeThread(closing, { threadId: "t1" })).toThrow("being deleted");
  expect(() => setHome(closing, { chat: chat("1"), isForced: true })).toThrow("being deleted");
});

test("the first chat becomes the home, another one only when that is asked for", () => {
  const first = setHome(doc(), { chat: chat("1"), isForced: false });
  expect(first.home).toEqual(chat("1"));
  expect(setHome(first, { chat: chat("2"), isForced: false })).toBe(first);
  expect(setHome(first, { chat: chat("1"), isForced: true })).toBe(first);
  const second = setHome(first, { chat: chat("2"), isForced: true });
  expect(second.home).toEqual(chat("2"));
  expect(leaveHome(second, chat("1"), null)).toBe(second);
  expect(leaveHome(second, chat("2"), chat("1")).home).toEqual(chat("1"));
});
