import { expect, test } from "vitest";
import { MAX_USED_TOKENS, UsedTokens } from "#runtime/used-tokens.ts";

test("a token is taken once while it is valid; too many are refused until some have ended", () => {
  const used = new UsedTokens();
  expect(used.use("a", 100, 0)).toBeUndefined();
  expect(used.use("a", 100, 50)).toBe("used");
  for (let n = 1; n < MAX_USED_TOKENS; n += 1) used.use(`n${n}`, n % 2 ? 100 : 200, 50);
  expect(used.use("more", 200, 60)).toBe("busy");
  expect(used.size).toBe(MAX_USED_TOKENS);
  expect(used.use("more", 200, 100)).toBeUndefined();
  expect(used.size).toBeLessThan(MAX_USED_TOKENS);
  expect(used.use("more", 200, 100)).toBe("used");
});
