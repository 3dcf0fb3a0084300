import { Writable } from "node:stream";
import fc from "fast-check";
import { expect, test } from "vitest";
import { GatheredWrites } from "#runtime/gathered-writes.ts";

/** A stream that takes what it is given only at `take`, as a socket whose kernel buffer is full. */
class SlowStream extends Writable {
  readonly taken: Buffer[] = [];
  calls = 0;
  #waiting: { chunks: Buffer[]; done: () => void } | undefined;

  constructor() {
    super({ highWaterMark: 2 ** 24 });
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.calls += 1;
    this.#waiting = { chunks: [chunk], done };
  }

  override _writev(list: { chunk: Buffer }[], done: () => void): void {
    this.calls += 1;
    this.#waiting = { chunks: list.map(({ chunk }) => chunk), done };
  }

  take(): void {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    for (const chunk of waiting?.chunks ?? []) this.taken.push(Buffer.from(chunk));
    waiting?.done();
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

async function drain(stream: SlowStream): Promise<void> {
  while (stream.writableLength > 0) {
    stream.take();
    await turn();
  }
}

test("small pieces of a turn leave in one write", async () => {
  const stream = new SlowStream();
  const out = new GatheredWrites(stream);
  for (let index = 0; index < 20; index += 1) out.add([Buffer.from(`${index};`)]);
  expect(out.bytes).toBe(50);
  out.flush();
  expect(out.bytes).toBe(0);
  await drain(stream);
  expect(stream.calls).toBe(1);
  expect(Buffer.concat(stream.taken).toString()).toBe(
    "0;1;2;3;4;5;6;7;8;9;10;11;12;13;14;15;16;17;18;19;",
  );
});

test("a large piece is not copied", () => {
  const written: Buffer[] = [];
  const stream = new Writable({
    writev: (list, done) => {
      written.push(...list.map(({ chunk }) => chunk as Buffer));
      done();
    },
  });
  const large = Buffer.alloc(20_000, "x");
  const out = new GatheredWrites(stream);
  out.add([Buffer.from("a"), large, Buffer.from("b")]);
  out.flush();
  expect(written.map(({ length }) => length)).toEqual([1, 20_000, 1]);
  expect(written[1]).toBe(large);
});

test("nothing is gathered without bound", () => {
  const stream = new SlowStream();
  const out = new GatheredWrites(stream);
  for (let index = 0; index < 100; index += 1) out.add([Buffer.alloc(1000)]);
  expect(out.bytes).toBeLessThan(70_000);
});

test("what a stream that has ended did not take is dropped", () => {
  const stream = new SlowStream();
  const out = new GatheredWrites(stream);
  out.add([Buffer.from("late")]);
  stream.destroy();
  out.flush();
  expect(out.bytes).toBe(0);
  expect(stream.calls).toBe(0);
});

test("every byte arrives in order, none overwritten while it waits", async () => {
  const size = fc.oneof(
    fc.integer({ min: 1, max: 6000 }),
    fc.integer({ min: 15_000, max: 80_000 }),
  );
  const plan = fc.array(fc.array(size, { minLength: 1, maxLength: 6 }), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(plan, plan, fc.integer({ min: 1, max: 4 }), async (one, two, slowness) => {
      const rigs = [one, two].map((turns) => {
        const stream = new SlowStream();
        return { turns, stream, out: new GatheredWrites(stream), sent: [] as Buffer[] };
      });
      for (let index = 0; index < Math.max(one.length, two.length); index += 1) {
        for (const { turns, out, sent, stream } of rigs) {
          const mark = String(sent.length);
          const pieces = (turns[index] ?? []).map((bytes) => Buffer.alloc(bytes, `${mark};`));
          sent.push(...pieces.map((piece) => Buffer.from(piece)));
          out.add(pieces);
          out.flush();
          if (index % slowness === 0) stream.take();
        }
        await turn();
      }
      for (const { stream, sent } of rigs) {
        await drain(stream);
        expect(Buffer.concat(stream.taken).equals(Buffer.concat(sent))).toBe(true);
      }
    }),
    { numRuns: 60, endOnFailure: true },
  );
});
