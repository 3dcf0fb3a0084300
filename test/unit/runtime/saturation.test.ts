import fc from "fast-check";
import { expect, test } from "vitest";
import { Saturation } from "#runtime/saturation.ts";

const full = { pids: { used: 256, limit: 256 }, pidLimitHits: 0 };
const calm = { pids: { used: 40, limit: 256 }, pidLimitHits: 0 };

/** Moves a clock by `stepMs` between the looks and tells at which of them the end is due. */
function endsAt(
  looks: Parameters<Saturation["look"]>[1][],
  stepMs: number,
  saturation = new Saturation(),
): number[] {
  return looks.flatMap((count, index) =>
    saturation.look(1000 + index * stepMs, count) ? [index] : [],
  );
}
const times = <T>(count: number, value: T): T[] => Array<T>(count).fill(value);

test.each([
  { what: "at the limit", used: 256, limit: 256, due: true },
  { what: "a bomb whose processes come and go", used: 250, limit: 256, due: true },
  { what: "busy, but there is room", used: 249, limit: 256, due: false },
  { what: "over a limit that is only counted", used: 400, limit: 256, due: true },
  { what: "a small limit", used: 62, limit: 64, due: true },
  { what: "room in a small limit", used: 61, limit: 64, due: false },
  { what: "no limit", used: 5000, limit: 0, due: false },
])("$what: $used of $limit", ({ used, limit, due }) => {
  const looks = times(16, { pids: { used, limit }, pidLimitHits: 0 });
  expect(endsAt(looks, 2000)).toEqual(due ? [15] : []);
});

test("one calm look in between starts the time anew, and so does a gap between looks", () => {
  expect(endsAt([...times(15, full), calm, ...times(15, full)], 2000)).toEqual([]);
  const saturation = new Saturation();
  expect([0, 15_000, 36_000, 51_000].map((at) => saturation.look(at, full))).toEqual(
    times(4, false),
  );
  expect(saturation.look(66_000, full)).toBe(true);
});

test("refused starts count as saturated while they rise, whatever the gauge says; an old count does not", () => {
  const rising = Array.from({ length: 17 }, (_, index) => ({ ...calm, pidLimitHits: 9 + index }));
  expect(endsAt(rising, 2000)).toEqual([16]);
  expect(endsAt(times(40, { ...calm, pidLimitHits: 9 }), 2000)).toEqual([]);
  expect(endsAt(times(40, { pidLimitHits: 9 }), 2000)).toEqual([]);
});

test("what stays saturated is ended again only after the whole time", () => {
  expect(endsAt(times(48, full), 2000)).toEqual([15, 31, 47]);
});

test("it never ends what had a calm look or a gap within the hold time, and always ends what had neither", () => {
  const look = fc.record({
    step: fc.integer({ min: 100, max: 25_000 }),
    saturated: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(look, { maxLength: 60 }), (looks) => {
      const saturation = new Saturation();
      let now = 0;
      let since: number | undefined;
      for (const { step, saturated } of looks) {
        now += step;
        if (!saturated) since = undefined;
        else if (step > 20_000) since = now;
        else since ??= now;
        const due = since !== undefined && now - since >= 30_000;
        expect(saturation.look(now, saturated ? full : calm)).toBe(due);
        if (due) since = undefined;
      }
    }),
  );
});
