import fc from "fast-check";
import { expect, test } from "vitest";
import { begin, cancel, type Enqueue, end, enqueue } from "#gateway/state/reduce.ts";
import {
  ENDED_INPUT_AGE_MS,
  MAX_ENDED_INPUTS,
  MAX_INPUT_BYTES,
  MAX_OPEN_INPUTS,
  SessionDocument,
} from "#protocol/session-document.ts";

const EMPTY: SessionDocument = {
  schemaVersion: 1,
  name: "s",
  mainThread: null,
  inputs: [],
  ended: [],
};
const message = (id: string, more: Partial<Enqueue> = {}): Enqueue => ({
  id,
  key: `key-${id}`,
  text: "hi",
  threadId: null,
  source: null,
  now: 1000,
  ...more,
});
const filled = (count: number, text = "hi") =>
  Array.from({ length: count }, (_, index) => String(index)).reduce(
    (document, id) => enqueue(document, message(id, { text })).document,
    EMPTY,
  );

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
  const started = begin(first.document, "a").document;
  expect(enqueue(started, message("b", { key: "key-a" })).document).toBe(started);
  const over = end(started, { id: "a", state: "done", turnId: "t", now: 2000 }).document;
  expect(enqueue(over, message("b", { key: "key-a" })).answer).toMatchObject({
    state: "ended",
    ended: { id: "a", state: "done", turnId: "t" },
  });
});

test("only the head starts, and an end is told once", () => {
  const document = filled(2);
  expect(begin(document, "1")).toEqual({ document, answer: false });
  const started = begin(document, "0");
  expect(started.answer).toBe(true);
  expect(begin(started.document, "0")).toEqual({ document: started.document, answer: true });
  const ended = end(started.document, { id: "0", state: "failed", reason: "no model", now: 5 });
  expect(ended.answer).toMatchObject({ id: "0", state: "failed", reason: "no model" });
  expect(ended.document.inputs.map(({ id }) => id)).toEqual(["1"]);
  expect(end(ended.document, { id: "0", state: "done", now: 6 })).toEqual({
    document: ended.document,
    answer: undefined,
  });
});

test("a waiting message is taken back, a started one is not", () => {
  const document = begin(filled(2), "0").document;
  expect(cancel(document, { id: "0", now: 5 })).toEqual({ document, answer: "running" });
  const cancelled = cancel(document, { id: "1", now: 5 });
  expect(cancelled.answer).toBe("cancelled");
  expect(cancelled.document.ended).toMatchObject([{ id: "1", state: "cancelled" }]);
  expect(cancel(cancelled.document, { id: "1", now: 6 }).answer).toBe("ended");
  expect(cancel(document, { id: "9", now: 5 }).answer).toBe("unknown");
});

test.each([
  ["nothing", { text: " \n" }, "InvalidInput"],
  ["too much", { text: "é".repeat(MAX_INPUT_BYTES / 2 + 1) }, "TooLarge"],
])("%s is refused", (_, more, code) => {
  expect(() => enqueue(EMPTY, message("a", more))).toThrow(expect.objectContaining({ code }));
});

test("a full lane says so and takes nothing, but a repeat still gets its answer", () => {
  const full = filled(MAX_OPEN_INPUTS);
  expect(() => enqueue(full, message("x"))).toThrow(/200 messages wait in this session already/);
  expect(enqueue(full, message("x", { key: "key-7" })).answer).toMatchObject({ ahead: 7 });
  const heavy = filled(16, "x".repeat(MAX_INPUT_BYTES));
  expect(() => enqueue(heavy, message("x"))).toThrow(expect.objectContaining({ code: "Busy" }));
});

test("what ended is forgotten by count and by age", () => {
  let document = EMPTY;
  for (let index = 0; index < MAX_ENDED_INPUTS + 5; index += 1) {
    document = enqueue(document, message(String(index), { now: index })).document;
    document = end(document, { id: String(index), state: "done", now: index }).document;
  }
  expect(document.ended).toHaveLength(MAX_ENDED_INPUTS);
  expect(document.ended[0]?.id).toBe("5");
  const late = enqueue(document, message("new", { now: ENDED_INPUT_AGE_MS + 500 })).document;
  expect(late.ended[0]?.id).toBe("500");
});

test("in any order of commands each accepted message ends at most once, in order, and the document stays valid", () => {
  const command = fc.oneof(
    fc.record({ do: fc.constant("enqueue"), key: fc.integer({ min: 0, max: 9 }) }),
    fc.record({ do: fc.constant("begin") }),
    fc.record({ do: fc.constant("end") }),
    fc.record({ do: fc.constant("cancel"), key: fc.integer({ min: 0, max: 9 }) }),
  );
  fc.assert(
    fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
      let document = EMPTY;
      const ends = new Map<string, number>();
      const started: string[] = [];
      commands.forEach((each, index) => {
        const [head] = document.inputs;
        const target =
          "key" in each ? document.inputs.find(({ key }) => key === `k${each.key}`) : head;
        if (each.do === "enqueue" && "key" in each) {
          document = enqueue(document, message(`i${index}`, { key: `k${each.key}` })).document;
        } else if (each.do === "begin" && head) {
          if (head.state === "waiting") started.push(head.id);
          document = begin(document, head.id).document;
        } else if (each.do === "end" && head?.state === "started") {
          const done = end(document, { id: head.id, state: "done", now: index });
          document = done.document;
          if (done.answer) ends.set(head.id, (ends.get(head.id) ?? 0) + 1);
        } else if (each.do === "cancel" && target) {
          document = cancel(document, { id: target.id, now: index }).document;
        }
        expect(SessionDocument.safeParse(document).success).toBe(true);
        expect(document.inputs.slice(1).every(({ state }) => state === "waiting")).toBe(true);
      });
      expect([...ends.values()].every((count) => count === 1)).toBe(true);
      expect(new Set(started).size).toBe(started.length);
    }),
    { numRuns: 500 },
  );
});
