import fc from "fast-check";
import { expect, test } from "vitest";
import { Ring } from "#runtime/ring.ts";

const line = (n: number, bytes = 10) => Buffer.from(String(n).padEnd(bytes));

test("a replay brings everything after a number, and names what is lost, for any sizes", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 30 }), { maxLength: 60 });
  fc.assert(
    fc.property(sizes, fc.nat(70), (lengths, after) => {
      const ring = new Ring(100);
      lengths.forEach((bytes, index) => ring.push(Buffer.alloc(bytes, index + 1)));
      expect(ring.seq).toBe(lengths.length);
      const { gap, lines } = ring.replay(after);
      const first = gap ? gap.to + 1 : after + 1;
      if (gap) expect(gap.from).toBe(after + 1);
      expect(lines.map((each) => each[0])).toEqual(
        lengths.map((_, index) => index + 1).slice(Math.max(0, first - 1)),
      );
      const held = ring.replay(0).lines.reduce((sum, each) => sum + each.length, 0);
      expect(held).toBeLessThanOrEqual(100);
      // Nothing is dropped without need.
      if (gap) expect(held + (lengths[gap.to - 1] ?? 0)).toBeGreaterThan(100);
    }),
  );
});

test("bytes come back as they were, round the corner and through growth", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 90_000 }), { minLength: 1, maxLength: 30 }),
      fc.integer({ min: 100_000, max: 400_000 }),
      (lengths, maxBytes) => {
        const ring = new Ring(maxBytes);
        const pushed = lengths.map((bytes, index) => Buffer.alloc(bytes, `${index}:`));
        for (const each of pushed) {
          const borrowed = Buffer.from(each);
          ring.push(borrowed);
          borrowed.fill(0);
        }
        const { lines } = ring.replay(0);
        expect(lines.length).toBeGreaterThan(0);
        const last = pushed.slice(-lines.length);
        expect(lines.every((each, index) => each.equals(last[index] ?? Buffer.alloc(0)))).toBe(
          true,
        );
      },
    ),
  );
});

test("a line larger than the ring leaves a gap and nothing else", () => {
  const ring = new Ring(50);
  ring.push(line(1));
  ring.push(line(2, 51));
  expect(ring.replay(0)).toEqual({ gap: { from: 1, to: 2 }, lines: [] });
  ring.push(line(3));
  expect(ring.replay(0)).toEqual({ gap: { from: 1, to: 2 }, lines: [line(3)] });
  expect(ring.replay(2)).toEqual({ lines: [line(3)] });
});

test("many lines keep their numbers when the array is cut", () => {
  const ring = new Ring(1000);
  for (let n = 1; n <= 20_000; n += 1) ring.push(line(n));
  const { gap, lines } = ring.replay(19_000);
  expect(gap).toEqual({ from: 19_001, to: 19_900 });
  expect(lines[0]).toEqual(line(19_901));
  expect(lines.at(-1)).toEqual(line(20_000));
  expect(ring.replay(20_000)).toEqual({ lines: [] });
  expect(ring.replay(30_000)).toEqual({ lines: [] });
});
