import { expect, test } from "vitest";
import { KeyedListeners } from "#lib/keyed-listeners.ts";

test("a listener that leaves twice takes nobody else with it", () => {
  const listeners = new KeyedListeners<string>();
  const leave = listeners.add("k", "first");
  leave();
  listeners.add("k", "second");
  leave();
  expect(listeners.of("k")).toEqual(["second"]);
});

test("the same listener twice is two listeners, and keys do not mix", () => {
  const listeners = new KeyedListeners<string>();
  const leave = listeners.add("k", "same");
  listeners.add("k", "same");
  listeners.add("other", "else");
  expect(listeners.of("k")).toEqual(["same", "same"]);
  leave();
  expect(listeners.of("k")).toEqual(["same"]);
  expect(listeners.of("nobody")).toEqual([]);
});
