import { expect, test } from "vitest";
import { Quiet } from "#gateway/sessions/quiet.ts";

const HOUR = 3_600_000;

test.each([HOUR, -HOUR])(
  "a wall clock that is set by %i ms makes nothing older or younger",
  (jump) => {
    let passed = 0;
    let set = 0;
    const quiet = new Quiet<"lane">({
      now: () => HOUR * 100 + passed + set,
      monotonicMs: () => passed,
      sleep: () => Promise.resolve(),
    });
    const first = HOUR * 100 - 5000;
    expect(quiet.ms("lane", first)).toBe(5000);
    passed += 1000;
    set = jump;
    expect(quiet.ms("lane", first)).toBe(6000);
    const second = HOUR * 100 + passed + set;
    expect(quiet.ms("lane", second)).toBe(0);
    passed += 2000;
    set = 0;
    expect(quiet.ms("lane", second)).toBe(2000);
  },
);
