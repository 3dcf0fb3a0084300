import { expect, test } from "vitest";
import type { KubeObject } from "#cluster/types.ts";
import { isAtLeast } from "#cluster/versions.ts";
import { Written } from "#controller/written.ts";
import { ManualClock } from "../../support/manual-clock.ts";

function cacheAt(version: string) {
  const objects = new Map<string, KubeObject>();
  const state = { version };
  return { state, objects, get: (key: string) => objects.get(key), version: () => state.version };
}

const objectAt = (resourceVersion: string, uid = "u"): KubeObject => ({
  metadata: { name: "x", namespace: "n", uid, resourceVersion },
});

test("a key waits until the cache stands at what it wrote", () => {
  const cache = cacheAt("9");
  const written = new Written(new ManualClock());
  written.wrote("n/a", cache, objectAt("10"));
  expect(written.isSeen("n/a")).toBe(false);
  expect(written.isSeen("n/other")).toBe(true);
  cache.state.version = "10";
  expect(written.isSeen("n/a")).toBe(true);
});

test("every write of the key counts, not only the last", () => {
  const [pods, claims] = [cacheAt("1"), cacheAt("1")];
  const written = new Written(new ManualClock());
  written.wrote("n/a", claims, objectAt("2"));
  written.wrote("n/a", pods, objectAt("3"));
  pods.state.version = "3";
  expect(written.isSeen("n/a")).toBe(false);
  claims.state.version = "5";
  expect(written.isSeen("n/a")).toBe(true);
});

test("a deleted object must be gone, replaced or going", () => {
  const going = (seen: KubeObject | undefined) => {
    const cache = cacheAt("1");
    const written = new Written(new ManualClock());
    if (seen) cache.objects.set("n/x", seen);
    written.deleted("n/a", cache, { objectKey: "n/x", uid: "u" });
    return written.isSeen("n/a");
  };
  expect(going(objectAt("1"))).toBe(false);
  expect(going(undefined)).toBe(true);
  expect(going(objectAt("2", "other"))).toBe(true);
  const leaving = objectAt("2");
  leaving.metadata.deletionTimestamp = "2030-01-01T00:00:00Z";
  expect(going(leaving)).toBe(true);
});

test("a cache that never catches up is believed again after two minutes", async () => {
  const clock = new ManualClock();
  const written = new Written(clock);
  written.wrote("n/a", cacheAt("1"), objectAt("2"));
  await clock.advance(119_999);
  expect(written.isSeen("n/a")).toBe(false);
  await clock.advance(1);
  expect(written.isSeen("n/a")).toBe(true);
});

test.each([
  ["10", "9", true],
  ["9", "10", false],
  ["10", "10", true],
  ["abc", "abc", true],
  ["abc", "abd", false],
  [undefined, "1", false],
])("version %s is at least %s: %s", (seen, wanted, expected) => {
  expect(isAtLeast(seen, wanted)).toBe(expected);
});
