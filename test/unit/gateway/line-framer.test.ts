import fc from "fast-check";
import { expect, test } from "vitest";
import { LineFramer } from "#gateway/line-framer.ts";
import { chunksOf, serverFrames } from "#test/support/frames.ts";

/** Pushes chunks the way a reused read buffer does: a borrowed chunk is overwritten after each push. */
function frame(lines: string[], sizes: readonly number[], owned: (turn: number) => boolean) {
  const framer = new LineFramer(2 ** 26);
  const out: Buffer[] = [];
  let turn = 0;
  for (const bytes of chunksOf(Buffer.from(lines.map((line) => `${line}\n`).join("")), sizes)) {
    const chunk = Buffer.from(bytes);
    const { frames, kept } = framer.push(chunk, owned(turn));
    out.push(...frames);
    if (!kept) {
      // Only what was handed over in this push may still point into the chunk, and it must not.
      const before = Buffer.concat(out);
      chunk.fill(0);
      expect(Buffer.concat(out).equals(before)).toBe(true);
    }
    turn += 1;
  }
  return serverFrames(Buffer.concat(out));
}

const BORDERS = [1, 2, 125, 126, 127, 16_383, 16_384, 65_535, 65_536, 200_000];
const line = fc.oneof(
  { weight: 5, arbitrary: fc.string({ unit: "binary", maxLength: 400 }) },
  { weight: 1, arbitrary: fc.constantFrom(...BORDERS).map((length) => "y".repeat(length)) },
);

test("every line becomes one frame, byte for byte, however the chunks fall", () => {
  fc.assert(
    fc.property(
      fc.array(line, { maxLength: 15 }),
      fc.array(fc.integer({ min: 1, max: 65_536 }), { minLength: 1, maxLength: 10 }),
      fc.array(fc.boolean(), { minLength: 1, maxLength: 8 }),
      (raw, sizes, owned) => {
        const lines = raw
          .filter((text) => text.isWellFormed())
          .map((text) => text.replaceAll("\n", " "));
        const { frames, rest } = frame(lines, sizes, (turn) => owned[turn % owned.length] ?? false);
        expect(rest.length).toBe(0);
        expect(frames.map(({ payload }) => payload.toString())).toEqual(
          lines.filter((text) => text.length > 0),
        );
      },
    ),
    { numRuns: 300 },
  );
});

test("a line without an end is noticed at its bound", () => {
  const framer = new LineFramer(100_000);
  framer.push(Buffer.alloc(60_000, "x"), false);
  expect(framer.overflowed).toBe(false);
  framer.push(Buffer.alloc(60_000, "x"), false);
  expect(framer.overflowed).toBe(true);
});

test("a long line asks for read buffers of its own", () => {
  const framer = new LineFramer(2 ** 26);
  framer.push(Buffer.alloc(20_000, "x"), false);
  expect(framer.inLongLine).toBe(true);
  framer.push(Buffer.from("\n"), false);
  expect(framer.inLongLine).toBe(false);
});
