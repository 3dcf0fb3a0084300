import fc from "fast-check";
import { expect, test } from "vitest";
import { LineSplitter } from "#lib/lines.ts";

const anyBytes = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.integer({ min: 0, max: 255 }) },
    fc.constantFrom(10, 13, 0xe2, 0x80, 0xa8),
  ),
  { maxLength: 300 },
);

function pushAll(bytes: Buffer, cuts: number[], splitter: LineSplitter) {
  const borders = [
    0,
    ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b),
    bytes.length,
  ];
  const results = borders
    .slice(1)
    .map((end, index) => splitter.push(bytes.subarray(borders[index], end)));
  return {
    lines: results.flatMap(({ lines }) => lines),
    overflows: results.reduce((sum, { overflows }) => sum + overflows, 0),
  };
}

test("any bytes cut anywhere come back equal, each line ending in the only newline it has", () => {
  fc.assert(
    fc.property(anyBytes, fc.array(fc.nat(400), { maxLength: 12 }), (values, cuts) => {
      const bytes = Buffer.from(values);
      const splitter = new LineSplitter({ maxBytes: 1000, onOverflow: "stop" });
      const { lines } = pushAll(bytes, cuts, splitter);
      for (const line of lines) expect(line.indexOf(10)).toBe(line.length - 1);
      expect(Buffer.concat([...lines, splitter.rest()])).toEqual(bytes);
    }),
  );
});

test("a line over the limit is a result of its own, wherever it is cut", () => {
  fc.assert(
    fc.property(anyBytes, fc.array(fc.nat(400), { maxLength: 12 }), (values, cuts) => {
      const bytes = Buffer.concat([Buffer.from(values), Buffer.from("\n")]);
      const whole = bytes.toString("latin1").match(/[^\n]*\n/g) ?? [];
      const skip = new LineSplitter({ maxBytes: 20, onOverflow: "skip" });
      const skipped = pushAll(bytes, cuts, skip);
      expect(skipped.lines.map(String).length).toBe(
        whole.filter((line) => line.length <= 20).length,
      );
      expect(skipped.overflows).toBe(whole.filter((line) => line.length > 20).length);
      const stop = new LineSplitter({ maxBytes: 20, onOverflow: "stop" });
      const first = whole.findIndex((line) => line.length > 20);
      const stopped = pushAll(bytes, cuts, stop);
      expect(stopped.lines.length).toBe(first < 0 ? whole.length : first);
      expect(stopped.overflows).toBe(first < 0 ? 0 : 1);
    }),
  );
});

test("the limit is seen before the newline comes, and nothing is kept", () => {
  const splitter = new LineSplitter({ maxBytes: 10, onOverflow: "stop" });
  expect(splitter.push(Buffer.from("123456")).overflows).toBe(0);
  expect(splitter.push(Buffer.from("78901")).overflows).toBe(1);
  expect(splitter.push(Buffer.from("x\ny\n"))).toEqual({ lines: [], overflows: 0 });
  expect(splitter.rest().length).toBe(0);
});
