import fc from "fast-check";
import { expect, test } from "vitest";
import { LineFramer, readBuffers } from "#gateway/line-framer.ts";
import { BufferPool } from "#lib/buffer-pool.ts";
import { serverFrames } from "#test/support/frames.ts";

test("a buffer given back is taken again, up to the bound", () => {
  const pool = new BufferPool(64, 1);
  const [one, two] = [pool.take(), pool.take()];
  expect(one.buffer).not.toBe(two.buffer);
  pool.give(one.subarray(3, 9));
  pool.give(two);
  const again = pool.take();
  expect(again.buffer).toBe(one.buffer);
  expect(again.length).toBe(64);
  expect(pool.take().buffer).not.toBe(two.buffer);
});

test("a buffer of somebody else is not taken", () => {
  const pool = new BufferPool(64, 8);
  const foreign = Buffer.allocUnsafeSlow(65);
  pool.give(foreign);
  expect(pool.take().buffer).not.toBe(foreign.buffer);
});

/** A client that takes what was sent only at `take`: as a socket whose kernel buffer is full. */
class SlowClient {
  readonly framer = new LineFramer(2 ** 26);
  readonly received: Buffer[] = [];
  #waiting: Buffer[] = [];

  /** Reads as a bridge connection does: short lines into a borrowed buffer, long ones into their own. */
  read(bytes: Buffer): void {
    const owned = this.framer.inLongLine;
    const buffer = owned ? readBuffers.take() : Buffer.alloc(bytes.length);
    bytes.copy(buffer);
    const chunk = buffer.subarray(0, bytes.length);
    const { frames, kept } = this.framer.push(chunk, owned);
    this.#waiting.push(...frames);
    if (kept) return;
    if (owned) readBuffers.give(buffer);
    else buffer.fill(0);
  }

  take(): void {
    for (const frame of this.#waiting) this.received.push(Buffer.from(frame));
    this.#waiting = [];
    this.framer.sent();
  }
}

const length = fc.oneof(
  fc.integer({ min: 1, max: 500 }),
  fc.integer({ min: 10_000, max: 300_000 }),
);
const chunk = fc.oneof(fc.integer({ min: 1, max: 2000 }), fc.integer({ min: 30_000, max: 65_536 }));

test("no byte is overwritten while it waits, however slow each client is", () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(length, { minLength: 1, maxLength: 12 }), { minLength: 2, maxLength: 4 }),
      fc.array(chunk, { minLength: 1, maxLength: 6 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 4, maxLength: 4 }),
      (lengths, sizes, slowness) => {
        const inputs = lengths.map((list, who) =>
          Buffer.from(list.map((size, at) => `${who}:${at}:`.padEnd(size, "x")).join("\n") + "\n"),
        );
        const clients = inputs.map(() => new SlowClient());
        const at = inputs.map(() => 0);
        for (let turn = 0; at.some((place, who) => place < (inputs[who]?.length ?? 0)); turn += 1) {
          const size = sizes[turn % sizes.length] ?? 1;
          clients.forEach((client, who) => {
            const bytes = inputs[who]?.subarray(at[who], (at[who] ?? 0) + size) ?? Buffer.alloc(0);
            at[who] = (at[who] ?? 0) + bytes.length;
            if (bytes.length > 0) client.read(bytes);
            if (turn % (slowness[who] ?? 1) === 0) client.take();
          });
        }
        clients.forEach((client, who) => {
          client.take();
          const { frames } = serverFrames(Buffer.concat(client.received));
          const text = frames.map(({ payload }) => `${payload.toString()}\n`).join("");
          expect(Buffer.from(text).equals(inputs[who] ?? Buffer.alloc(0))).toBe(true);
        });
      },
    ),
    { numRuns: 150, endOnFailure: true },
  );
});
