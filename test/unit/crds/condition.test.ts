import fc from "fast-check";
import { expect, test } from "vitest";
import { type Condition, setCondition } from "#crds/condition.ts";

const at = (second: number) => new Date(Date.UTC(2026, 0, 1, 0, 0, second));
const ready = (status: "True" | "False", reason = "Because") =>
  ({ type: "Ready", status, reason, message: "words" }) as const;

test("a new condition is appended with the time of now", () => {
  expect(setCondition([], ready("True"), at(1))).toEqual([
    { ...ready("True"), lastTransitionTime: "2026-01-01T00:00:01Z" },
  ]);
});

test("lastTransitionTime moves when the status changes", () => {
  const first = setCondition([], ready("False"), at(1));
  const second = setCondition(first, ready("True"), at(9));
  expect(second[0]?.lastTransitionTime).toBe("2026-01-01T00:00:09Z");
});

test("a change of reason or message keeps lastTransitionTime", () => {
  const first = setCondition([], ready("False"), at(1));
  const second = setCondition(first, ready("False", "Other"), at(9));
  expect(second[0]).toMatchObject({
    reason: "Other",
    lastTransitionTime: "2026-01-01T00:00:01Z",
  });
});

test("a thousand passes without a change leave the bytes identical and other conditions untouched", () => {
  const other: Condition = {
    ...ready("True"),
    type: "Other",
    lastTransitionTime: "2020-01-01T00:00:00Z",
  };
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 50 }), (seconds) => {
      const start = setCondition([other], ready("True"), at(0));
      const end = seconds.reduce(
        (list, second) => setCondition(list, ready("True"), at(second)),
        start,
      );
      expect(JSON.stringify(end)).toBe(JSON.stringify(start));
    }),
  );
});
