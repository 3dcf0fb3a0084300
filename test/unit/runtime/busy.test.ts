import { expect, test } from "vitest";
import { Busy } from "#runtime/busy.ts";

const T = "thread";
const lane = { peer: "lane", role: "lane" } as const;
const alice = { peer: "alice", role: "client" } as const;
const bob = { peer: "bob", role: "client" } as const;

function running(owner = "alice"): Busy<string> {
  const busy = new Busy<string>();
  busy.start(T, owner);
  busy.accepted(T, "t1", 0);
  busy.turnStarted(T, "t1");
  return busy;
}

test("a running turn refuses lanes always and clients that do not own it", () => {
  const busy = running();
  expect(busy.refuse(T, alice, 0)).toBeUndefined();
  expect(busy.refuse(T, bob, 0)).toEqual({ threadId: T, turnId: "t1" });
  expect(running("lane").refuse(T, lane, 0)).toEqual({ threadId: T, turnId: "t1" });
  expect(busy.refuse("other", lane, 0)).toBeUndefined();
  expect(busy.isForeign(T, "alice", 0)).toBe(false);
  expect(busy.isForeign(T, "bob", 0)).toBe(true);
  expect(busy.isForeign("other", "bob", 0)).toBe(false);
});

test("it is busy from the moment of forwarding, before any answer", () => {
  const busy = new Busy<string>();
  busy.start(T, "alice");
  expect(busy.refuse(T, bob, 0)).toEqual({ threadId: T });
  expect(busy.count(0)).toBe(1);
  busy.rejected(T);
  expect(busy.refuse(T, bob, 0)).toBeUndefined();
});

test("its own end frees it, another turn's does not", () => {
  const busy = running();
  busy.turnCompleted(T, "t0");
  expect(busy.refuse(T, bob, 0)).toBeDefined();
  busy.turnCompleted(T, "t1");
  expect(busy.refuse(T, bob, 0)).toBeUndefined();
  expect(busy.count(0)).toBe(0);
});

test("idle before the end does not free it; without an end it is free a little later", () => {
  const busy = running();
  busy.statusChanged(T, "idle", 1000);
  expect(busy.refuse(T, bob, 1001)).toBeDefined();
  expect(busy.refuse(T, bob, 6001)).toBeUndefined();
});

test("an end that overtakes its answer leaves no trace", () => {
  const busy = new Busy<string>();
  busy.start(T, "alice");
  busy.turnStarted(T, "t1");
  busy.turnCompleted(T, "t1");
  expect(busy.refuse(T, bob, 0)).toBeDefined();
  busy.accepted(T, "t1", 0);
  expect(busy.refuse(T, bob, 0)).toBeUndefined();
});

test("the end of the last turn does not hide a new one on its way", () => {
  const busy = running();
  busy.start(T, "alice");
  busy.turnCompleted(T, "t1");
  expect(busy.refuse(T, bob, 0)).toBeDefined();
  busy.accepted(T, "t2", 0);
  expect(busy.refuse(T, bob, 0)).toEqual({ threadId: T, turnId: "t2" });
  busy.turnCompleted(T, "t2");
  expect(busy.count(0)).toBe(0);
});

test("a refused steer does not free the turn that it wanted to join", () => {
  const busy = running();
  busy.start(T, "alice");
  busy.rejected(T);
  expect(busy.refuse(T, bob, 0)).toEqual({ threadId: T, turnId: "t1" });
});

test("an accepted start without a turn (compaction) is over when idle, or after a while", () => {
  const busy = new Busy<string>();
  busy.start(T, "alice");
  busy.accepted(T, undefined, 0);
  expect(busy.refuse(T, bob, 29_999)).toBeDefined();
  expect(busy.refuse(T, bob, 30_000)).toBeUndefined();
  busy.start(T, "alice");
  busy.accepted(T, undefined, 0);
  busy.statusChanged(T, "active", 1);
  expect(busy.refuse(T, bob, 99_999)).toBeDefined();
  busy.statusChanged(T, "idle", 100_000);
  expect(busy.refuse(T, bob, 100_000)).toBeUndefined();
});

test("a turn that nobody asked for is busy without an owner", () => {
  const busy = new Busy<string>();
  busy.statusChanged(T, "active", 0);
  expect(busy.refuse(T, alice, 0)).toEqual({ threadId: T });
  busy.turnStarted(T, "t9");
  expect(busy.owner(T)).toBeUndefined();
  expect(busy.refuse(T, alice, 0)).toEqual({ threadId: T, turnId: "t9" });
});

test("owners that leave own nothing; closing and the process's end free all", () => {
  const busy = running();
  expect(busy.owner(T)).toBe("alice");
  busy.leave("alice");
  expect(busy.owner(T)).toBeUndefined();
  expect(busy.refuse(T, alice, 0)).toBeDefined();
  busy.closed(T);
  expect(busy.count(0)).toBe(0);
  busy.start("a", "x");
  busy.start("b", "x");
  expect(busy.clear()).toEqual(["a", "b"]);
  expect(busy.count(0)).toBe(0);
});
