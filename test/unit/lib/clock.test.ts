import fc from "fast-check";
import { expect, test } from "vitest";
import { backoffMs, MAX_TIMER_MS, systemClock } from "#lib/clock.ts";

test("back-off doubles, stays under its cap and loses at most its jitter", () => {
  fc.assert(
    fc.property(fc.nat(80), fc.double({ min: 0, max: 1, noNaN: true }), (attempt, random) => {
      const delay = backoffMs(attempt, { baseMs: 5, maxMs: 1000, jitter: 0.2 }, () => random);
      const full = Math.min(1000, 5 * 2 ** Math.min(attempt, 30));
      expect(delay).toBeLessThanOrEqual(full);
      expect(delay).toBeGreaterThanOrEqual(Math.floor(full * 0.8));
    }),
  );
});

test("a sleep ends at once when its signal aborts, also one longer than a timer can hold", async () => {
  const abort = new AbortController();
  const sleeping = systemClock.sleep(MAX_TIMER_MS * 4, abort.signal);
  abort.abort();
  await expect(sleeping).rejects.toThrow("aborted");
});
