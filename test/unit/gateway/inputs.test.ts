import { expect, test } from "vitest";
import {
  aheadOf,
  cancel,
  type Enqueue,
  endInput,
  enqueue,
  retryInput,
} from "#gateway/state/inputs.ts";
import { begin, endTurn, type TurnPlan } from "#gateway/state/turns.ts";
import { ENDED_AGE_MS, MAX_INPUT_BYTES, MAX_OPEN_INPUTS } from "#protocol/lane-entry.ts";
import { emptyDocument } from "#protocol/session-document.ts";

const LIMIT = 2 * 1024 * 1024;
const EMPTY = emptyDocument("s");
const message = (id: string, more: Partial<Enqueue> = {}): Enqueue => ({
  id,
  key: `key-${id}`,
  text: "hi",
  threadId: null,
  source: null,
  now: 1000,
  limit: LIMIT,
  ...more,
});
const filled = (count: number, more: Partial<Enqueue> = {}) =>
  Array.from({ length: count }, (_, index) => String(index)).reduce(
    (document, id) => enqueue(document, message(id, more)).document,
    EMPTY,
  );
const plan = (inputId: string): TurnPlan => ({
  id: inputId,
  kind: "message",
  inputId,
  eventIds: [],
  threadId: "t",
});
const over = {
  outcome: "done",
  reason: "",
  threadId: "t",
  turnId: "turn",
  ranTool: false,
  text: "",
  now: 2000,
  limit: LIMIT,
} as const;

test("a repeated key is the same message, waiting, started or ended", () => {
  const first = enqueue(EMPTY, message("a"));
  expect(first.answer).toMatchObject({ state: "open", ahead: 0, repeated: false });
  const again = enqueue(first.document, message("b", { key: "key-a", text: "other" }));
  expect(again.document).toBe(first.document);
  expect(again.answer).toMatchObject({
    state: "open",
    repeated: true,
    input: { id: "a", text: "hi" },
  });
  const started = begin(first.document, plan("a"), 1500).document;
  expect(enqueue(started, message("b", { key: "key-a" })).document).toBe(started);
  const ended = endTurn(started, { id: "a", ...over }).document;
  expect(enqueue(ended, message("b", { key: "key-a" })).answer).toMatchObject({
    state: "ended",
    ended: { id: "a", state: "done", turnId: "turn" },
  });
});

test("only the head starts, one turn at a time, and an end is told once", () => {
  const document = filled(2);
  expect(begin(document, plan("1"), 1)).toEqual({ document, answer: false });
  const started = begin(document, plan("0"), 1);
  expect(started.answer).toBe(true);
  expect(begin(started.document, plan("0"), 2)).toEqual({
    document: started.document,
    answer: true,
  });
  expect(begin(started.document, plan("1"), 2).answer).toBe(false);
  const ended = endTurn(started.document, {
    id: "0",
    ...over,
    outcome: "failed",
    reason: "no model",
  });
  expect(ended.answer?.input).toMatchObject({ id: "0", state: "failed", reason: "no model" });
  expect(ended.document.inputs.map(({ id }) => id)).toEqual(["1"]);
  expect(endTurn(ended.document, { id: "0", ...over })).toEqual({
    document: ended.document,
    answer: undefined,
  });
});

test("a waiting message is taken back, a started one is not", () => {
  const document = begin(filled(2), plan("0"), 1).document;
  const at = { now: 5, limit: LIMIT };
  expect(cancel(document, { id: "0", ...at })).toEqual({ document, answer: "running" });
  const cancelled = cancel(document, { id: "1", ...at });
  expect(cancelled.answer).toBe("cancelled");
  expect(cancelled.document.ended).toMatchObject([{ id: "1", state: "cancelled" }]);
  expect(cancel(cancelled.document, { id: "1", ...at }).answer).toBe("ended");
  expect(cancel(document, { id: "9", ...at }).answer).toBe("unknown");
});

test("a failed message is tried again once, however often it is asked", () => {
  const started = begin(filled(1), plan("0"), 1).document;
  const failed = endTurn(started, {
    id: "0",
    ...over,
    outcome: "failed",
    reason: "no model",
  }).document;
  const at = { inputId: "0", now: 6, limit: LIMIT };
  const first = retryInput(failed, { ...at, id: "x" });
  expect(first.answer).toMatchObject({
    state: "open",
    repeated: false,
    input: { id: "x", text: "hi" },
  });
  const second = retryInput(first.document, { ...at, id: "y" });
  expect(second.answer).toMatchObject({ state: "open", repeated: true, input: { id: "x" } });
  const done = endTurn(started, { id: "0", ...over }).document;
  expect(() => retryInput(done, { ...at, id: "z" })).toThrow("cannot be tried again");
});

test.each([
  ["nothing", { text: " \n" }, "InvalidInput"],
  ["too much", { text: "é".repeat(MAX_INPUT_BYTES / 2 + 1) }, "TooLarge"],
])("refuses %s and accepts nothing", (_, more, code) => {
  expect(() => enqueue(EMPTY, message("a", more))).toThrow(expect.objectContaining({ code }));
});

test("a full lane refuses newcomers, not repeats", () => {
  const full = filled(MAX_OPEN_INPUTS);
  expect(() => enqueue(full, message("x"))).toThrow(expect.objectContaining({ code: "Busy" }));
  expect(enqueue(full, message("x", { key: "key-3" })).answer).toMatchObject({ repeated: true });
});

test("a lane without room for the answers refuses before it is full", () => {
  const text = "a".repeat(60_000);
  let document = EMPTY;
  let count = 0;
  for (; count < MAX_OPEN_INPUTS; count++) {
    const id = String(count);
    try {
      document = enqueue(document, message(id, { text, limit: 512 * 1024 })).document;
    } catch (error) {
      expect(error).toMatchObject({ code: "Busy" });
      break;
    }
  }
  expect(count).toBeGreaterThan(5);
  expect(count).toBeLessThan(9);
});

test("a deleted session takes nothing", () => {
  const closing = { ...EMPTY, closing: true };
  expect(() => enqueue(closing, message("a"))).toThrow(
    expect.objectContaining({ code: "NotFound" }),
  );
});

test("ended messages leave by age", () => {
  const first = endInput(filled(1), { id: "0", state: "done", now: 1, limit: LIMIT }).document;
  expect(first.ended).toHaveLength(1);
  const later = enqueue(first, message("x", { now: 2 + ENDED_AGE_MS })).document;
  expect(later.ended).toHaveLength(0);
});

test("a turn that is no message's stands ahead too", () => {
  const { document, answer } = enqueue(
    {
      ...EMPTY,
      turn: { id: "ev", kind: "events", inputId: null, eventIds: [], threadId: null, startedAt: 1 },
    },
    message("a"),
  );
  expect(answer).toMatchObject({ ahead: 1 });
  const [input] = document.inputs;
  expect(input && aheadOf(document, input)).toBe(1);
});
