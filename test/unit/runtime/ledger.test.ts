import fc from "fast-check";
import { expect, test } from "vitest";
import {
  answerOf,
  endOf,
  keepable,
  LEDGER_AGE_MS,
  LEDGER_ENTRIES,
  LEDGER_OPEN_AGE_MS,
  Ledger,
  type LedgerEntry,
  turnOf,
} from "#runtime/ledger.ts";
import { settleEntry } from "#runtime/settle.ts";

const entry = (input: string, more: Partial<LedgerEntry> = {}): LedgerEntry => ({
  input,
  thread: "t",
  at: 0,
  state: "open",
  ...more,
});

test("what was written is read again, whatever happened in between", () => {
  const inputs = fc.constantFrom("a", "b", "c", 'd"\n');
  const change = fc.record({
    input: inputs,
    drop: fc.boolean(),
    state: fc.constantFrom("open" as const, "done" as const, "unknown" as const),
    turn: fc.option(fc.string({ minLength: 1, maxLength: 5 }), { nil: undefined }),
  });
  fc.assert(
    fc.property(fc.array(change), (changes) => {
      const ledger = new Ledger();
      const lines = changes.map(({ input, drop, state, turn }) =>
        drop ? ledger.drop(input) : ledger.put(entry(input, turn ? { state, turn } : { state })),
      );
      const again = new Ledger();
      expect(again.load(lines.join(""))).toBe(0);
      expect(JSON.parse(`[${again.snapshot().trimEnd().replaceAll("}\n{", "},{")}]`).length).toBe(
        ledger.size,
      );
      for (const input of ["a", "b", "c", 'd"\n'])
        expect(again.get(input)).toEqual(ledger.get(input));
      const compacted = new Ledger();
      compacted.load(ledger.snapshot());
      expect(compacted.snapshot()).toBe(ledger.snapshot());
    }),
  );
});

test("a torn last line is counted and the rest stands", () => {
  const ledger = new Ledger();
  expect(ledger.load(`${JSON.stringify(entry("a"))}\n{"input":"b","thr`)).toBe(1);
  expect(ledger.get("a")).toEqual(entry("a"));
  expect(ledger.get("b")).toBeUndefined();
});

test("settled entries leave by count and age, open ones by a longer age alone", () => {
  const ledger = new Ledger();
  for (let n = 0; n < LEDGER_ENTRIES + 10; n += 1) {
    ledger.put(entry(`i${n}`, { at: 1000, state: n < 5 ? "open" : "done" }));
  }
  ledger.expire(1000);
  expect(ledger.size).toBe(LEDGER_ENTRIES);
  expect(ledger.get("i0")).toBeDefined();
  expect(ledger.get("i5")).toBeUndefined();
  ledger.expire(1000 + LEDGER_AGE_MS + 1);
  expect(ledger.size).toBe(5);
  ledger.expire(1000 + LEDGER_OPEN_AGE_MS + 1);
  expect(ledger.size).toBe(0);
});

const answerTo = (method: string, more: Partial<LedgerEntry>) => answerOf(method, entry("a", more));

test("a repeat gets the answer of its own method", () => {
  const queued = { id: "q", clientUserMessageId: "a", input: [1] };
  expect(answerTo("turn/start", {})).toBeUndefined();
  expect(answerTo("turn/start", { turn: "x" })).toMatchObject({ turn: { id: "x" } });
  expect(answerTo("turn/start", { turn: "x", state: "unknown" })).toBeUndefined();
  expect(answerTo("turn/steer", { turn: "x" })).toEqual({ turnId: "x" });
  expect(answerTo("turn/start", { queued })).toBeUndefined();
  expect(answerTo("thread/queue/add", { queued })).toEqual({ queuedSubmission: queued });
  expect(answerTo("thread/queue/add", { turn: "x" })).toMatchObject({
    queuedSubmission: { id: "x" },
  });
});

test("open entries are found by thread and by turn", () => {
  const ledger = new Ledger();
  ledger.put(entry("a", { turn: "x" }));
  ledger.put(entry("b", { turn: "x" }));
  ledger.put(entry("c", { thread: "u" }));
  ledger.put(entry("d", { turn: "x", state: "done" }));
  expect(ledger.open("t").map(({ input }) => input)).toEqual(["a", "b"]);
  expect(ledger.open().length).toBe(3);
  expect(ledger.ofTurn("x").map(({ input }) => input)).toEqual(["a", "b"]);
});

test.each([
  ["completed", "done"],
  ["failed", "failed"],
  ["interrupted", "interrupted"],
  ["inProgress", "interrupted"],
  [undefined, "interrupted"],
])("a turn with status %s means %s", (status, state) => {
  expect(endOf(status)).toBe(state);
});

test("a repeat is answered with a turn in the app-server's shape", () => {
  expect(turnOf(entry("a", { turn: "x" }))).toMatchObject({
    id: "x",
    status: "inProgress",
    items: [],
  });
  expect(turnOf(entry("a", { turn: "x", state: "failed" })).status).toBe("failed");
  const result = { id: "x", status: "completed", items: [1] };
  expect(turnOf(entry("a", { turn: "x", state: "done", result }))).toMatchObject(result);
});

test("a large result is kept without its items", () => {
  const turn = { id: "x", items: ["y".repeat(70_000)] };
  expect(keepable(turn)).toEqual({ id: "x", items: [], itemsView: "notLoaded" });
  expect(keepable({ id: "x", items: ["y"] })).toEqual({ id: "x", items: ["y"] });
});

test.each([
  { name: "in history", history: "there", isThere: true, state: "done" },
  {
    name: "in history though a tool was seen",
    history: "there",
    isThere: true,
    ran: true,
    state: "done",
  },
  { name: "absent: never ran", history: "there", state: undefined },
  { name: "absent, the thread too", history: "none", state: undefined },
  { name: "absent, but a tool was seen", history: "there", ran: true, state: "interrupted" },
  { name: "no history", history: "unsupported", state: "unknown" },
  { name: "no history, a tool ran", history: "unsupported", ran: true, state: "interrupted" },
] as const)("after the process's end: $name", (given) => {
  const ledger = new Ledger();
  const open = entry("a", "ran" in given ? { turn: "x", ran: true } : {});
  ledger.put(open);
  const turn = "isThere" in given ? { id: "x", status: "completed", items: [] } : undefined;
  settleEntry(ledger, open, given.history, turn);
  expect(ledger.get("a")?.state).toBe(given.state);
});
