import { expect, test } from "vitest";
import { ALIASES, NEW_THREADS, NewThreads } from "#runtime/new-threads.ts";

const reloaded = (lines: (string | undefined)[]) => {
  const threads = new NewThreads();
  expect(threads.load(lines.filter(Boolean).join(""))).toBe(0);
  return threads;
};

test("a thread is remembered with its parameters until it is in history", () => {
  const threads = new NewThreads();
  const lines = [threads.started("a", { cwd: "/w" }), threads.started("b", {})];
  expect(reloaded(lines).paramsOf("a")).toEqual({ cwd: "/w" });
  lines.push(threads.settled("a"));
  expect(threads.paramsOf("a")).toBeUndefined();
  expect(reloaded(lines).paramsOf("a")).toBeUndefined();
  expect(reloaded(lines).paramsOf("b")).toEqual({});
  expect(threads.settled("a")).toBeUndefined();
});

test("made anew it keeps its name for peers, also when it is in history and after a restart", () => {
  const threads = new NewThreads();
  const lines = [threads.started("a", { cwd: "/w" }), threads.renewed("a", "x")];
  expect(threads.aliases()).toMatchObject([{ thread: "a", current: "x" }]);
  lines.push(threads.settled("a"));
  expect(reloaded(lines).aliases()).toEqual([{ thread: "a", current: "x" }]);
  expect(reloaded(lines).paramsOf("a")).toBeUndefined();
  expect(reloaded([threads.snapshot()]).aliases()).toEqual([{ thread: "a", current: "x" }]);
});

test("ephemeral threads and huge parameters are not kept; both lists are bounded", () => {
  const threads = new NewThreads();
  expect(threads.started("a", { ephemeral: true })).toBeUndefined();
  expect(threads.started("b", { baseInstructions: "x".repeat(300_000) })).toBeUndefined();
  for (let n = 0; n <= NEW_THREADS; n += 1) threads.started(`t${n}`, {});
  expect(threads.paramsOf("t0")).toBeUndefined();
  expect(threads.paramsOf("t1")).toEqual({});
  for (let n = 1; n <= ALIASES + 1; n += 1) threads.renewed(`t${n}`, `x${n}`);
  expect(threads.aliases()).toHaveLength(ALIASES);
});
