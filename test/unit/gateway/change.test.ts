import fc from "fast-check";
import { expect, test } from "vitest";
import { applied, type Change, difference } from "#gateway/store/change.ts";

/** What a store keeps of a value. */
const json = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
const replayed = (before: unknown, change: Change | undefined) =>
  change ? applied(json(before), json(change) as Change) : json(before);

test("what is shared is named, not repeated", () => {
  const [a, b, c, d] = ["a", "b", "c", "d"].map((id) => ({ id, text: "long ".repeat(100) }));
  expect(difference([a, b, c], [b, c, d])).toEqual({ list: [[1, 3], { add: [d] }] });
  expect(difference([a, b, c], [d, a, b, c])).toEqual({ list: [{ add: [d] }, [0, 3]] });
  expect(
    difference({ list: [a, b], other: c }, { list: [{ ...a, id: "x" }, b], other: c }),
  ).toEqual({ in: { list: { list: [{ at: 0, change: { in: { id: { set: "x" } } } }, [1, 2]] } } });
  expect(difference({ a, b }, { a })).toEqual({ in: {}, drop: ["b"] });
  expect(difference([a], [])).toEqual({ list: [] });
  expect(difference({ a: [] }, { a: [] })).toBeUndefined();
  expect(difference({ a, b: undefined }, { a })).toBeUndefined();
});

const value = fc.jsonValue({ maxDepth: 3 });
const text = fc.oneof(
  fc.string(),
  fc.constantFrom("__proto__", "constructor", "in", "set", "list"),
);
const tree = fc.dictionary(text, fc.oneof(value, fc.array(value), fc.dictionary(text, value)));

test("any two values: the change leads from one to the other", () => {
  fc.assert(
    fc.property(tree, tree, (before, after) => {
      expect(replayed(before, difference(before, after))).toEqual(json(after));
    }),
    { numRuns: 2000 },
  );
});

/** A list after some steps that keep, drop, change, move, repeat and add elements, as reducers do. */
const step = fc.record({
  kind: fc.constantFrom("drop", "add", "prepend", "change", "move", "repeat", "clear"),
  at: fc.nat(20),
  value: fc.oneof(value, fc.dictionary(text, value)),
});
type Step = { kind: string; at: number; value: unknown };

function taken(list: readonly unknown[], { kind, at, value: added }: Step): unknown[] {
  const index = list.length === 0 ? 0 : at % list.length;
  const element = list[index];
  const rest = list.toSpliced(index, 1);
  switch (kind) {
    case "drop":
      return rest;
    case "add":
      return [...list, added];
    case "prepend":
      return [added, ...list];
    case "change":
      return list.with(index, { ...(element as object), changed: added });
    case "move":
      return list.length > 0 ? [...rest, element] : [];
    case "repeat":
      return [...list, ...list.slice(index)];
    default:
      return [];
  }
}

test("lists that share elements, in any order: each change leads to the next", () => {
  fc.assert(
    fc.property(fc.array(value), fc.array(fc.array(step, { maxLength: 4 })), (start, rounds) => {
      let before: { list: unknown[]; other: unknown } = { list: start, other: { kept: true } };
      let disk: unknown = json(before);
      for (const steps of rounds) {
        const list = steps.reduce<unknown[]>(
          (now, each) => (now.length === 0 && each.kind === "change" ? now : taken(now, each)),
          before.list,
        );
        if (list.length > 200) return;
        const after = { ...before, list };
        disk = replayed(disk, difference(before, after));
        expect(disk).toEqual(json(after));
        before = after;
      }
    }),
    { numRuns: 1000 },
  );
});

test("a change that does not fit is not applied", () => {
  expect(() => applied([1], { list: [[0, 2]] })).toThrow();
  expect(() => applied([1], { list: [[1, 0]] })).toThrow();
  expect(() => applied(undefined, { in: { a: { list: [[0, 1]] } } })).toThrow();
});
