import { expect, test } from "vitest";
import { heartbeatAt } from "#gateway/lanes/heartbeat.ts";
import type { Link } from "#gateway/lanes/lane-peer.ts";
import { RunningTurn } from "#gateway/lanes/running-turn.ts";
import { TurnRecords } from "#gateway/lanes/turn-record.ts";
import { afterClock } from "#gateway/state/clock.ts";
import { addDelivery } from "#gateway/state/deliveries.ts";
import { endEvents, enqueueEvent } from "#gateway/state/events.ts";
import { nextWork } from "#gateway/state/next.ts";
import { claim, claimable, partOutcome, sendingPart } from "#gateway/state/outbox.ts";
import { silentLogger } from "#lib/logger.ts";
import { LEASE_MS } from "#protocol/channel.ts";
import { emptyDocument, type SessionDocument } from "#protocol/session-document.ts";
import { ManualClock } from "#test/support/manual-clock.ts";

const HOUR = 3_600_000;
const NOW = 1_000 * HOUR;
const LIMIT = 512 * 1024;
const SPEC = { silenceSeconds: 600, commandSilenceSeconds: 3600 };
const by = { adapter: "a", epoch: 1 };

/** An event whose first turn failed just now: it is tried again in five seconds. */
function withRetry(): SessionDocument {
  const source = { name: "s", uid: "s" };
  const event = { id: "e", key: "e", kind: "k", text: "x", threadId: null, source, wakes: true };
  const more = { policy: "Allow" as const, now: NOW, limit: LIMIT };
  const { document } = enqueueEvent(emptyDocument("main"), { ...event, ...more });
  const end = { ids: ["e"], outcome: "again" as const, reason: "no model", now: NOW, limit: LIMIT };
  return endEvents(document, end).document;
}

/** A delivery whose channel asked for a pause of ten minutes just now. */
function withPause(): SessionDocument {
  const target = { channel: "c", chatKey: "1" };
  const about = { inputId: null, threadId: null, turnId: null, canRetry: false };
  const wanted = { id: "d", target, kind: "message" as const, text: "x", ...about };
  const made = addDelivery(emptyDocument("main"), { ...wanted, now: NOW, limit: LIMIT }).document;
  const facts = { id: "d", by, leaseMs: LEASE_MS, now: NOW, limit: LIMIT };
  const held = claim(made, { ...facts, channel: "c" }).document;
  const sending = sendingPart(held, { ...facts, parts: 1, mode: "send" }).document;
  const outcome = { state: "notSent", reason: "slow down", retryAfterMs: 600_000 } as const;
  return partOutcome(sending, { ...facts, outcome }).document;
}

const dueEvent = (document: SessionDocument, now: number) =>
  nextWork(document, now, null).do === "start";
const dueDelivery = (document: SessionDocument, now: number) =>
  claimable(document, "c", by, now).length === 1;

test("nothing is touched while the clock goes on, or is set forward: waits only end early", () => {
  for (const document of [withRetry(), withPause()]) {
    for (const now of [NOW, NOW + 1000, NOW + HOUR, NOW - 1000])
      expect(afterClock(document, now)).toBe(document);
  }
  expect(dueEvent(withRetry(), NOW + HOUR)).toBe(true);
  expect(dueDelivery(withPause(), NOW + HOUR)).toBe(true);
});

test("a clock that is set back by an hour makes no retry wait longer than it was meant to", () => {
  const back = NOW - HOUR;
  const event = afterClock(withRetry(), back);
  expect(dueEvent(event, back)).toBe(false);
  expect(dueEvent(event, back + 5000)).toBe(true);
  const delivery = afterClock(withPause(), back);
  expect(dueDelivery(delivery, back + 590_000)).toBe(false);
  expect(dueDelivery(delivery, back + 600_000)).toBe(true);
  expect(afterClock(delivery, back)).toBe(delivery);
});

test("a lease of a clock that was set back ends a lease later, not an hour", () => {
  const target = { channel: "c", chatKey: "1" };
  const about = { inputId: null, threadId: null, turnId: null, canRetry: false };
  const wanted = { id: "d", target, kind: "message" as const, text: "x", ...about };
  const made = addDelivery(emptyDocument("main"), { ...wanted, now: NOW, limit: LIMIT }).document;
  const facts = { id: "d", by, channel: "c", leaseMs: LEASE_MS, now: NOW, limit: LIMIT };
  const held = afterClock(claim(made, facts).document, NOW - HOUR);
  const other = { adapter: "b", epoch: 2 };
  expect(claimable(held, "c", other, NOW - HOUR + LEASE_MS - 1)).toEqual([]);
  expect(claimable(held, "c", other, NOW - HOUR + LEASE_MS)).toHaveLength(1);
});

test("a heartbeat comes an interval after a clock was set back, and once after it was set forward", () => {
  const spec = { intervalSeconds: 1800 };
  const facts = { uid: "u", createdAt: 0, isUp: true };
  const before = emptyDocument("main");
  const beaten = { ...before, heartbeat: { ...before.heartbeat, lastAt: NOW } };
  const late = heartbeatAt(afterClock(beaten, NOW - HOUR).heartbeat, spec, facts) ?? 0;
  expect(late).toBeGreaterThanOrEqual(NOW - HOUR + 1_800_000);
  expect(late).toBeLessThanOrEqual(NOW - HOUR + 1_980_000);
  const early = heartbeatAt(beaten.heartbeat, spec, facts) ?? 0;
  expect(early).toBeLessThanOrEqual(NOW + HOUR);
  const again = { ...beaten.heartbeat, lastAt: NOW + HOUR };
  expect(heartbeatAt(again, spec, facts)).toBeGreaterThanOrEqual(NOW + HOUR + 1_800_000);
});

function running(clock: ManualClock) {
  const asked: string[] = [];
  const records = new TurnRecords(() => clock.monotonicMs());
  const link = {
    isGone: false,
    request: async (method: string) => asked.push(method),
  } as unknown as Link;
  const ids = { threadId: "t", turnId: "u" };
  const record = records.watch("u", "t");
  const rest = { spec: SPEC, clock, logger: silentLogger(), onWords: () => undefined };
  return { asked, records, turn: new RunningTurn({ link, record, ...ids, ...rest }) };
}

test.each([HOUR, -HOUR])(
  "a turn's deadline for silence is not moved by a clock set by %i ms",
  async (ms) => {
    const clock = new ManualClock();
    const { asked, turn } = running(clock);
    await clock.advance(300_000);
    clock.jump(ms);
    await clock.advance(290_000);
    expect(asked).toEqual([]);
    await clock.advance(20_000);
    expect(asked).toContain("turn/interrupt");
    expect(turn.stopped).toContain("no sign of life for 10 min");
    turn.leave();
  },
);
