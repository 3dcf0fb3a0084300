import fc from "fast-check";
import { expect, test } from "vitest";
import { LargeBuffers } from "#lib/buffer-pool.ts";
import { FrameReader } from "#lib/frame-reader.ts";
import { OPCODE } from "#lib/frames.ts";
import { chunksOf, clientFrame } from "#test/support/frames.ts";

test("a large buffer is taken again where it fits", () => {
  const buffers = new LargeBuffers(2 ** 20);
  const first = buffers.take(70_000);
  expect(first.length).toBe(128 * 1024);
  buffers.give(first);
  expect(buffers.take(200_000)).not.toBe(first);
  expect(buffers.take(20_000)).not.toBe(first);
  expect(buffers.take(128 * 1024)).toBe(first);
  expect(buffers.take(128 * 1024)).not.toBe(first);
});

test("also where little is needed", () => {
  const buffers = new LargeBuffers(2 ** 20);
  const first = buffers.take(5000);
  buffers.give(first);
  expect(buffers.take(100)).toBe(first);
});

test("no more than the bound is kept", () => {
  const buffers = new LargeBuffers(128 * 1024);
  const [one, two] = [buffers.take(128 * 1024), buffers.take(128 * 1024)];
  buffers.give(one);
  buffers.give(two);
  expect(buffers.take(128 * 1024)).toBe(one);
  expect(buffers.take(128 * 1024)).not.toBe(two);
});

/** A bridge that takes what was forwarded only at `take`. */
class SlowBridge {
  readonly reader = new FrameReader(
    { accept: (buffer, start) => buffer[start] !== 0x21, control: () => undefined },
    2 ** 26,
  );
  readonly received: Buffer[] = [];
  #waiting: Buffer[] = [];

  read(chunk: Buffer): void {
    this.#waiting.push(...this.reader.push(Buffer.from(chunk)).lines);
  }

  take(): void {
    for (const line of this.#waiting) this.received.push(Buffer.from(line));
    this.#waiting = [];
    this.reader.sent();
  }
}

const length = fc.oneof(
  fc.integer({ min: 1, max: 2000 }),
  fc.integer({ min: 30_000, max: 200_000 }),
);

test("no message is overwritten while it waits, however slow each bridge is", () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(length, { minLength: 1, maxLength: 8 }), { minLength: 2, maxLength: 4 }),
      fc.array(fc.integer({ min: 1000, max: 65_536 }), { minLength: 1, maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 4, maxLength: 4 }),
      fc.boolean(),
      (lengths, sizes, slowness, fragmented) => {
        // Some messages are kept back by the handler ("!"): their buffers come back at once.
        const texts = lengths.map((list, who) =>
          list.map((size, at) => `${at % 3 === 2 ? "!" : who}:${at}:`.padEnd(size, "x")),
        );
        const bridges = texts.map(() => new SlowBridge());
        const streams = texts.map((list) => [
          ...chunksOf(Buffer.concat(list.flatMap((text) => frames(text, fragmented))), sizes),
        ]);
        for (let turn = 0; streams.some((stream) => turn < stream.length); turn += 1) {
          bridges.forEach((bridge, who) => {
            const chunk = streams[who]?.[turn];
            if (chunk) bridge.read(chunk);
            if (turn % (slowness[who] ?? 1) === 0) bridge.take();
          });
        }
        bridges.forEach((bridge, who) => {
          bridge.take();
          const wanted = texts[who]?.filter((text) => !text.startsWith("!")) ?? [];
          const expected = Buffer.from(wanted.map((text) => `${text}\n`).join(""));
          expect(Buffer.concat(bridge.received).equals(expected)).toBe(true);
        });
      },
    ),
    { numRuns: 100, endOnFailure: true },
  );
});

function frames(text: string, fragmented: boolean): Buffer[] {
  const payload = Buffer.from(text);
  if (!fragmented) return [clientFrame(OPCODE.text, payload)];
  const cut = payload.length >> 1;
  return [
    clientFrame(OPCODE.text, payload.subarray(0, cut), { final: false }),
    clientFrame(OPCODE.continuation, payload.subarray(cut)),
  ];
}
