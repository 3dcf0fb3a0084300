import { expect, test } from "vitest";
import { newKey, PUBLISH_LEAD_MS, publishedKeys, signingKey, tidyKeys } from "#gateway/keys.ts";

const HOUR = 3_600_000;
const key = (createdAt: number, change: object = {}) => ({ ...newKey(createdAt), ...change });

test("the very first key signs at once, a later one ten minutes after it was published", () => {
  const first = key(0);
  expect(signingKey([first], 0)).toBe(first);
  const known = { ...first, publishedAt: 0 };
  const next = key(HOUR, { publishedAt: HOUR });
  expect(signingKey([known, next], HOUR + PUBLISH_LEAD_MS - 1)).toBe(known);
  expect(signingKey([known, next], HOUR + PUBLISH_LEAD_MS)).toBe(next);
  expect(signingKey([known, key(HOUR)], 5 * HOUR)).toBe(known);
});

test("an old key is retired, still published while its tokens live, and forgotten when nothing needs it", () => {
  const old = key(0, { publishedAt: 0, neededUntil: 3 * HOUR });
  const next = key(1, { publishedAt: 1 });
  const retired = tidyKeys([old, next], HOUR);
  expect(retired.map(({ retiredAt }) => retiredAt)).toEqual([HOUR, null]);
  expect(Object.keys(publishedKeys(retired, HOUR))).toEqual([old.id, next.id]);
  expect(Object.keys(publishedKeys(retired, 2 * HOUR))).toEqual([next.id]);
  expect(tidyKeys(retired, 2 * HOUR)).toBe(retired);
  expect(tidyKeys(retired, 3 * HOUR).map(({ id }) => id)).toEqual([next.id]);
});

test("published keys are public", () => {
  const pem = Object.values(publishedKeys([key(0)], 0))[0];
  expect(pem).toMatch(/^-----BEGIN PUBLIC KEY-----/);
});
