import fc from "fast-check";
import { expect, test } from "vitest";
import { FrameReader } from "#lib/frame-reader.ts";
import { closeFrame, encodeFrame, OPCODE } from "#lib/frames.ts";
import { chunksOf, clientFrame } from "#test/support/frames.ts";

const read = (bytes: Buffer, sizes: readonly number[], maxBytes = 2 ** 20) => {
  const controls: { opcode: number; payload: string }[] = [];
  const reader = new FrameReader(
    {
      accept: (buffer, start, end) => !buffer.toString("utf8", start, end).startsWith("drop"),
      control: (opcode, payload) => controls.push({ opcode, payload: payload.toString() }),
    },
    maxBytes,
  );
  const out: Buffer[] = [];
  for (const chunk of chunksOf(bytes, sizes)) {
    const { lines, violation } = reader.push(Buffer.from(chunk));
    out.push(...lines.map((line) => Buffer.from(line)));
    if (violation) return { text: Buffer.concat(out).toString(), controls, violation };
  }
  return { text: Buffer.concat(out).toString(), controls, violation: undefined };
};

const mask = fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => Buffer.from(bytes));
const BORDERS = [0, 1, 115, 118, 125, 126, 127, 1023, 1024, 1025, 65_530, 65_535, 65_536, 70_000];
const text = fc.oneof(
  { weight: 4, arbitrary: fc.string({ unit: "binary", maxLength: 300 }) },
  { weight: 1, arbitrary: fc.constantFrom(...BORDERS).map((length) => "x".repeat(length)) },
  { weight: 1, arbitrary: fc.constantFrom("drop me", "é漢🎉\u2028", "a\nb") },
);
const message = fc.record({
  text,
  mask,
  /** Relative cut points of the fragments. */
  cuts: fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 3 }),
  ping: fc.boolean(),
});
type Message = { text: string; mask: Buffer; cuts: number[]; ping: boolean };

function frames({ text, mask, cuts, ping }: Message): Buffer[] {
  const payload = Buffer.from(text);
  const points = [...cuts.map((cut) => Math.floor(cut * payload.length)).sort((a, b) => a - b)];
  const parts = [0, ...points].map((from, index) =>
    payload.subarray(from, points[index] ?? payload.length),
  );
  return parts.flatMap((part, index) => {
    const opcode = index === 0 ? OPCODE.text : OPCODE.continuation;
    const frame = clientFrame(opcode, part, { mask, final: index === parts.length - 1 });
    return ping ? [clientFrame(OPCODE.ping, Buffer.from("p"), { mask }), frame] : [frame];
  });
}

test("every message arrives as one line, however it is masked, fragmented and cut", () => {
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 20 }),
      (messages, sizes) => {
        const wellFormed = messages.filter(({ text }) => text.isWellFormed());
        const result = read(Buffer.concat(wellFormed.flatMap(frames)), sizes);
        const expected = wellFormed
          .filter(({ text }) => !text.startsWith("drop"))
          .map(({ text }) => `${text.replaceAll("\n", " ")}\n`);
        expect(result.violation).toBeUndefined();
        expect(result.text).toBe(expected.join(""));
        const pings = wellFormed.filter(({ ping }) => ping).flatMap(({ cuts }) => [0, ...cuts]);
        expect(result.controls.length).toBe(pings.length);
      },
    ),
    { numRuns: 400 },
  );
});

test("one byte at a time is the same as all at once", () => {
  const bytes = Buffer.concat(
    [200, 126, 65_536].map((length) => clientFrame(OPCODE.text, Buffer.alloc(length, "z"))),
  );
  expect(read(bytes, [1]).text).toBe(read(bytes, [bytes.length]).text);
});

test.each<[string, Buffer, number]>([
  ["binary", clientFrame(OPCODE.binary, Buffer.from("x")), 1003],
  ["not UTF-8", clientFrame(OPCODE.text, Buffer.from([0xc3, 0x28])), 1007],
  ["half a character", clientFrame(OPCODE.text, Buffer.from([0xe2, 0x82])), 1007],
  ["too long", clientFrame(OPCODE.text, Buffer.alloc(2 ** 20 + 1, "x")), 1009],
  ["not masked", encodeFrame(OPCODE.text, Buffer.from("hello!")), 1002],
  ["reserved bit", Buffer.from([0xc1, 0x80, 0, 0, 0, 0]), 1002],
  ["unknown opcode", clientFrame(3, Buffer.from("x")), 1002],
  ["stray continuation", clientFrame(OPCODE.continuation, Buffer.from("x")), 1002],
  ["long ping", clientFrame(OPCODE.ping, Buffer.alloc(126)), 1002],
  [
    "text inside a fragmented message",
    Buffer.concat([
      clientFrame(OPCODE.text, Buffer.from("a"), { final: false }),
      clientFrame(OPCODE.text, Buffer.from("b")),
    ]),
    1002,
  ],
])("%s has its own close code, and the lines before it still arrive", (_, bad, code) => {
  const good = clientFrame(OPCODE.text, Buffer.from("good"));
  for (const sizes of [[1], [7], [2 ** 22]]) {
    const result = read(Buffer.concat([good, bad, good]), sizes);
    expect(result.text).toBe("good\n");
    expect(result.violation?.code).toBe(code);
  }
});

test("a fragmented message is bounded as a whole", () => {
  const part = Buffer.alloc(400_000, "x");
  const bytes = Buffer.concat([
    clientFrame(OPCODE.text, part, { final: false }),
    clientFrame(OPCODE.continuation, part, { final: false }),
    clientFrame(OPCODE.continuation, part),
  ]);
  expect(read(bytes, [65_536]).violation?.code).toBe(1009);
});

test("a message that is held back between fragments keeps its place", () => {
  const bytes = Buffer.concat([
    clientFrame(OPCODE.text, Buffer.from("1")),
    clientFrame(OPCODE.text, Buffer.from("2"), { final: false }),
    clientFrame(OPCODE.continuation, Buffer.alloc(0)),
    clientFrame(OPCODE.text, Buffer.from("3")),
  ]);
  expect(read(bytes, [bytes.length]).text).toBe("1\n2\n3\n");
});

test("a close frame's reason is cut at a character border", () => {
  const frame = closeFrame(1012, "ä".repeat(200));
  expect(frame.length).toBe(2 + 2 + 122);
  expect(frame.subarray(4).toString()).toBe("ä".repeat(61));
});
