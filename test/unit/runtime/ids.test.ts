import fc from "fast-check";
import { expect, test } from "vitest";
import { type LineScan, scanLine } from "#lib/scan.ts";
import { RequestIds, ServerRequestIds } from "#runtime/ids.ts";

const bytes = (text: string) => Buffer.from(text);
const scanOf = (line: Buffer): Required<LineScan> => scanLine(line) as Required<LineScan>;
const idOf = (line: Buffer) => scanOf(line).id;
/** Of the requestId in `{"p":…}`: the scanner is not what is tested here. */
const valueOf = (line: Buffer) => {
  const start = line.indexOf(":") + 1;
  return { start, end: line.length - 1 };
};

test("a request gets a number of its own and its answer the asker's id, byte for byte", () => {
  const ids = new RequestIds<string>();
  const [a, b] = [
    bytes('{"method":"m","id":"\\u0061 b","x":{"id":3}}\n'),
    bytes('{"id": [1, null] }\n'),
  ];
  const first = ids.forward(a, idOf(a), "A");
  const second = ids.forward(b, idOf(b), "B");
  expect(first).toEqual({ id: 1, pieces: [bytes('{"method":"m","id":1,"x":{"id":3}}\n')] });
  expect(second).toEqual({ id: 2, pieces: [bytes('{"id": 2 }\n')] });
  expect(ids.size).toBe(2);
  const toB = bytes('{"result":{"id":9},"id":2}\n');
  expect(ids.answer(toB, idOf(toB))).toEqual({
    asker: "B",
    pieces: [bytes('{"result":{"id":9},"id":[1, null]}\n')],
  });
  const toA = bytes('{"id":1,"error":null}');
  expect(ids.answer(toA, idOf(toA))).toEqual({
    asker: "A",
    pieces: [bytes('{"id":"\\u0061 b","error":null}')],
  });
  expect(ids.size).toBe(0);
});

test("the id outlives the chunk that it came in", () => {
  const ids = new RequestIds<string>();
  const chunk = bytes('{"id":"mine"}');
  ids.forward(chunk, idOf(chunk), "A");
  chunk.fill(0x78);
  const answer = bytes('{"id":1}');
  expect(ids.answer(answer, idOf(answer))?.pieces.toString()).toBe('{"id":"mine"}');
});

test("an answer counts once; unknown, forgotten and foreign ids are nobody's", () => {
  const ids = new RequestIds<string>();
  const line = bytes('{"id":7}');
  for (let n = 0; n < 3; n += 1) ids.forward(line, idOf(line), "A");
  ids.forget(2);
  const answered = (id: string) => {
    const answer = bytes(`{"id":${id}}`);
    return ids.answer(answer, idOf(answer))?.asker;
  };
  expect(answered("1")).toBe("A");
  expect(answered("1")).toBeUndefined();
  expect(answered("2")).toBeUndefined();
  for (const id of ["0", "4", '"3"', "3.0", "3e0", "-3", "null", "[3]", "30000000000000000000"]) {
    expect(answered(id)).toBeUndefined();
  }
  expect(answered("3")).toBe("A");
});

test("a long line is shared, not copied, and reads the same", () => {
  const ids = new RequestIds<string>();
  const text = (id: string) => `{"p":"${"x".repeat(3000)}","id":${id},"q":"${"y".repeat(3000)}"}\n`;
  const line = bytes(text('"own"'));
  const { pieces } = ids.forward(line, idOf(line), "A");
  expect(Buffer.concat(pieces).toString()).toBe(text("1"));
  expect(pieces.some((piece) => piece.buffer === line.buffer)).toBe(true);
  const answer = bytes(text("1"));
  const returned = ids.answer(answer, idOf(answer))?.pieces ?? [];
  expect(Buffer.concat(returned).toString()).toBe(text('"own"'));
});

test("a question gets a number and its answer the app-server's id back", () => {
  const ids = new ServerRequestIds(500);
  const zero = bytes('{"method":"ask","id":0,"params":{"id":0}}\n');
  const text = bytes('{"id":"a\\u0062","method":"ask"}\n');
  expect(ids.offer(zero, idOf(zero))).toEqual({
    id: 500,
    line: bytes('{"method":"ask","id":500,"params":{"id":0}}\n'),
    repeated: false,
  });
  expect(ids.offer(text, idOf(text))).toEqual({
    id: 501,
    line: bytes('{"id":501,"method":"ask"}\n'),
    repeated: false,
  });
  expect(ids.size).toBe(2);
  const first = bytes('{"result":1,"id":500}');
  expect(ids.answer(first, idOf(first))).toEqual({ id: 500, line: bytes('{"result":1,"id":0}') });
  const second = bytes('{"id":501}');
  expect(ids.answer(second, idOf(second))?.line.toString()).toBe('{"id":"a\\u0062"}');
  const unknown = bytes('{"id":502}');
  expect(ids.answer(unknown, idOf(unknown))).toBeUndefined();
  const foreign = bytes('{"id":"500"}');
  expect(ids.answer(foreign, idOf(foreign))).toBeUndefined();
});

test("a repeated question keeps its number until it is resolved; then the id is new again", () => {
  const ids = new ServerRequestIds(1);
  const ask = bytes('{"id":0,"method":"ask"}');
  expect(ids.offer(ask, idOf(ask)).id).toBe(1);
  expect(ids.offer(ask, idOf(ask))).toMatchObject({ id: 1, repeated: true });
  expect(ids.size).toBe(1);
  const resolved = bytes('{"requestId":0}');
  expect(ids.resolve(resolved, valueOf(resolved))).toEqual({
    id: 1,
    line: bytes('{"requestId":1}'),
  });
  expect(ids.resolve(resolved, valueOf(resolved))).toBeUndefined();
  expect(ids.size).toBe(0);
  const late = bytes('{"id":1}');
  expect(ids.answer(late, idOf(late))).toBeUndefined();
  expect(ids.offer(ask, idOf(ask))).toMatchObject({ id: 2, repeated: false });
});

test("the next process starts at 0 again and its questions get other numbers; old answers are dropped", () => {
  const ids = new ServerRequestIds(1);
  const ask = bytes('{"id":0,"method":"ask"}');
  ids.offer(ask, idOf(ask));
  ids.reset();
  expect(ids.size).toBe(0);
  const old = bytes('{"id":1}');
  expect(ids.answer(old, idOf(old))).toBeUndefined();
  expect(ids.offer(ask, idOf(ask))).toMatchObject({ id: 2, repeated: false });
});

test("a forgotten question's number answers nothing, and its id asks anew under another", () => {
  const ids = new ServerRequestIds(1);
  const ask = bytes('{"id":0}');
  ids.offer(ask, idOf(ask));
  ids.forget(1);
  ids.forget(99); // never given out
  expect(ids.size).toBe(0);
  const answer = bytes('{"id":1}');
  expect(ids.answer(answer, idOf(answer))).toBeUndefined();
  expect(ids.offer(ask, idOf(ask))).toMatchObject({ id: 2, repeated: false });
});

test("the question's id outlives its chunk", () => {
  const ids = new ServerRequestIds(1);
  const ask = bytes('{"id":"theirs"}');
  ids.offer(ask, idOf(ask));
  ask.fill(0x78);
  const answer = bytes('{"id":1}');
  expect(ids.answer(answer, idOf(answer))?.line.toString()).toBe('{"id":"theirs"}');
});

test("any ids, answered in any order, return to their askers", () => {
  fc.assert(
    fc.property(
      fc.array(fc.jsonValue(), { maxLength: 20 }),
      fc.infiniteStream(fc.nat()),
      (wanted, order) => {
        const ids = new RequestIds<number>();
        const open = wanted.map((id, asker) => {
          const line = bytes(JSON.stringify({ method: "m", id }));
          return {
            asker,
            id: JSON.stringify(id),
            upstream: ids.forward(line, idOf(line), asker).id,
          };
        });
        while (open.length > 0) {
          const [next] = open.splice((order.next().value ?? 0) % open.length, 1);
          const answer = bytes(`{"id":${next?.upstream},"result":{"id":1}}`);
          const returned = ids.answer(answer, idOf(answer));
          expect(returned?.asker).toBe(next?.asker);
          expect(returned?.pieces.toString()).toBe(`{"id":${next?.id},"result":{"id":1}}`);
        }
        expect(ids.size).toBe(0);
      },
    ),
  );
});
