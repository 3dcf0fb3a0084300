import { expect, test } from "vitest";
import { type EnqueueEvent, enqueueEvent, findEvent, replayEvent } from "#gateway/state/events.ts";
import { nextWork } from "#gateway/state/next.ts";
import { begin, endTurn, type TurnEnd } from "#gateway/state/turns.ts";
import { MAX_EVENT_BYTES, MAX_EVENT_RETRIES, MAX_EVENTS_PER_SOURCE } from "#protocol/lane-entry.ts";
import { emptyDocument, type SessionDocument } from "#protocol/session-document.ts";

const LIMIT = 2 * 1024 * 1024;
const HOME = { channel: "test", chatKey: "7" };
const EMPTY = { ...emptyDocument("s"), mainThread: "main", home: HOME };
const event = (id: string, more: Partial<EnqueueEvent> = {}): EnqueueEvent => ({
  id,
  key: `key-${id}`,
  kind: "cron",
  text: `do ${id}`,
  threadId: null,
  source: { name: "hourly", uid: "cron-1" },
  wakes: true,
  policy: "Allow",
  now: 1000,
  limit: LIMIT,
  ...more,
});
const filled = (...ids: string[]) =>
  ids.reduce<SessionDocument>((document, id) => enqueueEvent(document, event(id)).document, EMPTY);

function started(document: SessionDocument, now = 1000): SessionDocument {
  const work = nextWork(document, now, null);
  if (work.do !== "start") throw new Error(`nothing starts: ${work.do}`);
  return begin(document, { ...work.plan, id: `turn-${now}` }, now).document;
}

function ended(document: SessionDocument, more: Partial<TurnEnd>, now: number): SessionDocument {
  const end = {
    outcome: "done",
    reason: "",
    threadId: "main",
    turnId: "t",
    ranTool: false,
    text: "",
  } as const;
  return endTurn(document, { ...end, id: document.turn?.id ?? "", now, limit: LIMIT, ...more })
    .document;
}

test("a completed turn acknowledges the events that it told, and a repeat of a key changes nothing", () => {
  const document = filled("a", "b");
  expect(nextWork(document, 1000, null)).toMatchObject({
    do: "start",
    plan: { kind: "events", eventIds: ["a", "b"] },
  });
  const later = enqueueEvent(started(document), event("c")).document;
  expect(findEvent(later, "key-a")).toMatchObject({ state: "running" });
  const done = ended(later, { text: "did it" }, 2000);
  expect(done.events.map(({ id }) => id)).toEqual(["c"]);
  expect(done.deliveries).toMatchObject([{ target: HOME, kind: "events", text: "did it" }]);
  const again = enqueueEvent(done, event("x", { key: "key-a" }));
  expect(again).toMatchObject({
    document: done,
    answer: { state: "duplicate", ended: { id: "a", state: "done" } },
  });
});

test("a turn that ran no tool is tried again with pauses, then the event is given up and its reason told", () => {
  let document = filled("a");
  let now = 1000;
  for (let round = 0; round <= MAX_EVENT_RETRIES; round++) {
    document = ended(started(document, now), { outcome: "failed", reason: "no model" }, now);
    if (round === MAX_EVENT_RETRIES) break;
    const work = nextWork(document, now, null);
    expect(work).toMatchObject({ do: "rest", until: expect.any(Number) });
    now = work.do === "rest" ? (work.until ?? 0) : 0;
  }
  expect(document.events).toEqual([]);
  expect(document.endedEvents).toMatchObject([
    { id: "a", state: "dead", reason: "no model", text: "do a" },
  ]);
  expect(document.deliveries).toMatchObject([
    { kind: "notice", text: expect.stringContaining("given up: no model") },
  ]);
});

test.each([
  ["ran a tool", { outcome: "failed", ranTool: true, reason: "crash" }],
  ["is unknown", { outcome: "unknown", reason: "lost" }],
] as const)("a failed turn that %s is never run again", (_, end) => {
  const document = ended(started(filled("a")), end, 2000);
  expect(document.events).toEqual([]);
  expect(document.endedEvents).toMatchObject([{ state: "dead" }]);
});

test("a dead event is replayed by its key, once", () => {
  const dead = ended(
    started(filled("a")),
    { outcome: "failed", ranTool: true, reason: "crash" },
    2000,
  );
  const at = { key: "key-a", now: 3000, limit: LIMIT };
  const first = replayEvent(dead, { ...at, id: "x" });
  expect(first.answer).toMatchObject({ state: "queued", event: { id: "x", text: "do a" } });
  expect(() => replayEvent(first.document, { ...at, id: "y" })).toThrow("no dead event");
});

test("Forbid skips while an earlier one of the same source is open, and says the same to a repeat", () => {
  const document = filled("a");
  const skipped = enqueueEvent(document, event("b", { policy: "Forbid" }));
  expect(skipped.answer).toMatchObject({
    state: "skipped",
    reason: expect.stringContaining("still active"),
  });
  expect(skipped.document.events).toHaveLength(1);
  expect(enqueueEvent(skipped.document, event("c", { key: "key-b" })).answer).toEqual(
    skipped.answer,
  );
  const other = enqueueEvent(
    document,
    event("d", { policy: "Forbid", source: { name: "o", uid: "o" } }),
  );
  expect(other.answer).toMatchObject({ state: "queued" });
});

test("Replace takes the place of the waiting one and leaves a running turn alone", () => {
  const replaced = enqueueEvent(filled("a", "b"), event("c", { policy: "Replace" })).document;
  expect(replaced.events.map(({ id }) => id)).toEqual(["c", "b"]);
  expect(replaced.endedEvents).toMatchObject([{ id: "a", state: "skipped" }]);
  const running = enqueueEvent(started(filled("a")), event("c", { policy: "Replace" })).document;
  expect(running.events.map(({ id }) => id)).toEqual(["a", "c"]);
});

test("one source cannot fill the queue, and an event over 16 KiB names the bound", () => {
  const ids = Array.from({ length: MAX_EVENTS_PER_SOURCE }, (_, index) => `e${index}`);
  const full = filled(...ids);
  expect(() => enqueueEvent(full, event("x"))).toThrow(expect.objectContaining({ code: "Busy" }));
  const other = event("y", { source: { name: "o", uid: "o" } });
  expect(enqueueEvent(full, other).answer).toMatchObject({ state: "queued" });
  const large = event("z", { text: "x".repeat(10 * 1024 * 1024) });
  expect(() => enqueueEvent(EMPTY, large)).toThrow(`at most ${MAX_EVENT_BYTES} bytes`);
});

test("a message goes first and takes the events of its thread with it; an event of another thread waits", () => {
  const withOther = enqueueEvent(filled("a"), event("b", { threadId: "other" })).document;
  const input = { id: "i", key: "i", text: "hi", threadId: null, source: null, enqueuedAt: 1 };
  const work = nextWork({ ...withOther, inputs: [input] }, 1000, null);
  expect(work).toMatchObject({
    do: "start",
    plan: { kind: "message", inputId: "i", eventIds: ["a"] },
  });
});

test("a heartbeat that finds nothing says nothing; a message with the same words is delivered", () => {
  const beat = begin(
    EMPTY,
    { id: "hb", kind: "heartbeat", inputId: null, eventIds: [], threadId: "main" },
    5,
  ).document;
  expect(beat.heartbeat).toMatchObject({ lastAt: 5, requested: false });
  expect(ended(beat, { text: "**HEARTBEAT_OK**" }, 6).deliveries).toEqual([]);
  expect(ended(beat, { text: "The disk is full." }, 6).deliveries).toMatchObject([
    { kind: "heartbeat" },
  ]);
  const input = { id: "i", key: "i", text: "hi", threadId: null, source: HOME, enqueuedAt: 1 };
  const asked = started({ ...EMPTY, inputs: [input] });
  expect(ended(asked, { text: "HEARTBEAT_OK" }, 6).deliveries).toMatchObject([
    { text: "HEARTBEAT_OK" },
  ]);
});
