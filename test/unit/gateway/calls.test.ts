import fc from "fast-check";
import { expect, test } from "vitest";
import { askCall, dropCalls, endCall, findCall, queueCall, rowsOf } from "#gateway/state/calls.ts";
import { afterClock } from "#gateway/state/clock.ts";
import { closeAll } from "#gateway/state/closing.ts";
import {
  MAX_ENDED_CALLS,
  MAX_QUEUED_BYTES,
  MAX_QUEUED_CALLS,
  MAX_QUEUED_PER_NODE,
} from "#protocol/queued-call.ts";
import { emptyDocument, SessionDocument } from "#protocol/session-document.ts";

const times = { now: 1_000_000, limit: 2 ** 21 };
const call = (id: string, nodeId = "laptop", argv = ["true"]) => ({
  id,
  nodeId,
  command: "system.run",
  by: "agent" as const,
  paramsJSON: JSON.stringify({ argv }),
  timeoutMs: 40_000,
  approvalMs: 300_000,
  queueForMs: 60_000,
});
const event = (id: string) => ({
  id: `q-${id}`,
  key: `node/laptop/queued/${id}`,
  kind: "process",
  text: "it ended",
  wakes: true,
  source: { name: "laptop", uid: "node:laptop" },
});

test("whatever happens to queued calls, each ends once, with one event, and the document stays valid", () => {
  const id = fc.integer({ min: 0, max: 30 }).map(String);
  const step = fc.oneof(
    fc.record({ do: fc.constant("queue"), id, node: fc.constantFrom("a", "b", "c") }),
    fc.record({ do: fc.constant("ask"), id, boot: fc.constantFrom("x", null) }),
    fc.record({ do: fc.constant("end"), id, loud: fc.boolean() }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      let document = emptyDocument("s");
      const accepted = new Set<string>();
      const ends = new Map<string, number>();
      for (const each of steps) {
        if ("node" in each) {
          const row = queueCall(document, call(each.id, each.node), times);
          accepted.add(each.id);
          document = row.document;
        } else if ("boot" in each) {
          document = askCall(document, { id: each.id, boot: each.boot, now: times.now }).document;
        } else {
          const about = each.loud ? { event: event(each.id) } : {};
          const end = { id: each.id, state: "done", reason: "", ...about } as const;
          const { document: after, answer } = endCall(document, end, times);
          if (answer) ends.set(each.id, (ends.get(each.id) ?? 0) + 1);
          document = after;
        }
      }
      expect(SessionDocument.parse(document)).toEqual(document);
      expect([...ends.values()].every((count) => count === 1)).toBe(true);
      const known = rowsOf(document).map(({ callId }) => callId);
      expect(new Set(known)).toEqual(accepted);
      expect(known).toHaveLength(accepted.size);
    }),
  );
});

test("each bound refuses the next one with its reason; a repeat of what is there is answered", () => {
  let document = emptyDocument("s");
  const add = (id: string, node: string, argv?: string[]) => {
    document = queueCall(document, call(id, node, argv), times).document;
  };
  for (let index = 0; index < MAX_QUEUED_PER_NODE; index++) add(`a${index}`, "a");
  expect(() => add("one more", "a")).toThrow("20 calls wait for a already");
  expect(queueCall(document, call("a0", "a"), times).answer).toMatchObject({ state: "queued" });
  for (let index = MAX_QUEUED_PER_NODE; index < MAX_QUEUED_CALLS; index++)
    add(`b${index}`, `n${index}`);
  expect(() => add("one more", "z")).toThrow("50 in this session");
  document = emptyDocument("s");
  const long = ["x".repeat(60_000)];
  const fits = Math.floor(MAX_QUEUED_BYTES / 60_500);
  for (let index = 0; index < fits; index++) add(`c${index}`, "c", long);
  expect(() => add("one more", "c", long)).toThrow("was not taken");
  expect(() => add("long", "c", ["x".repeat(65_536)])).toThrow("bytes of parameters");
});

test("an event that has no place keeps its call open; the end is told later", () => {
  let { document } = queueCall(emptyDocument("s"), call("one"), times);
  const end = { id: "one", state: "expired", reason: "too late", event: event("one") } as const;
  const full = { ...document, closing: true };
  expect(() => endCall(full, end, times)).toThrow("is being deleted");
  ({ document } = endCall(document, end, times));
  expect(document).toMatchObject({ calls: [], events: [{ text: "it ended" }] });
  expect(endCall(document, end, times)).toEqual({ document, answer: false });
});

test("what is too late, or of a session that is going, is not sent; sent to another run it is written down", () => {
  const { document } = queueCall(emptyDocument("s"), call("one"), times);
  const ask = (now: number, from = document) => askCall(from, { id: "one", boot: "b1", now });
  expect(ask(times.now + 60_000).answer).toBeUndefined();
  expect(ask(times.now, { ...document, closing: true }).answer).toBeUndefined();
  const { document: sent } = ask(times.now + 59_999);
  expect(sent.calls[0]?.asked).toEqual({ boot: "b1" });
  expect(ask(times.now, sent).document).toBe(sent);
});

test("a clock that was set back lengthens no wait", () => {
  const { document } = queueCall(emptyDocument("s"), call("one"), times);
  const now = times.now - 900_000;
  expect(afterClock(document, now).calls).toMatchObject([
    { queuedAt: now, expiresAt: now + 60_000 },
  ]);
  expect(afterClock(document, times.now + 1)).toBe(document);
});

test("a deleted session's calls end, its chat is told how many, and nothing is taken any more", () => {
  const home = { channel: "telegram", chatKey: "9" };
  const first = queueCall({ ...emptyDocument("s"), home }, call("one"), times).document;
  const both = queueCall(first, call("two"), times).document;
  const sent = askCall(both, { id: "two", boot: "b", now: times.now }).document;
  const { document, answer } = closeAll(sent, times);
  expect(answer).toMatchObject({ calls: 2 });
  expect(document.endedCalls).toMatchObject([{ state: "cancelled" }, { state: "unknown" }]);
  expect(document.deliveries).toMatchObject([
    { text: "⏹ The session was deleted: 2 calls that waited for a device will not run." },
  ]);
  expect(() => queueCall(document, call("three"), times)).toThrow("being deleted");
});

test("a call is found by the beginning of its id where that is unique; ends are remembered to their bound", () => {
  let { document } = queueCall(emptyDocument("s"), call("abc1"), times);
  ({ document } = queueCall(document, call("abc2"), times));
  expect(findCall(document, "abc1").id).toBe("abc1");
  expect(() => findCall(document, "abc")).toThrow("no queued call abc");
  ({ document } = dropCalls(document, "gone", times));
  for (let index = 0; index < MAX_ENDED_CALLS + 5; index++) {
    ({ document } = queueCall(document, call(`n${index}`), times));
    ({ document } = endCall(document, { id: `n${index}`, state: "done", reason: "" }, times));
  }
  expect(document.endedCalls).toHaveLength(MAX_ENDED_CALLS);
  expect(rowsOf(document)[0]?.callId).toBe(`n${MAX_ENDED_CALLS + 4}`);
});
