import { once } from "node:events";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { LineSplitter } from "#lib/lines.ts";
import { names, scanLine, scanMembers, splice } from "#lib/scan.ts";
import type { TestBridge } from "#test/support/bridge.ts";
import type { BridgePeer } from "#test/support/bridge-peer.ts";
import { bridgeSuite } from "#test/support/bridge-suite.ts";
import { proofSize } from "#test/support/proof.ts";

const start = bridgeSuite();

const anyText = fc.string({ unit: "binary", maxLength: 60 });
const anyParams = fc.jsonValue({ maxDepth: 2 });
const THREAD_ID = names("threadId");

/** Writes the bytes in pieces cut anywhere, also inside of a character. */
async function writeInPieces(peer: BridgePeer, bytes: Buffer, cuts: number[]): Promise<void> {
  let from = 0;
  for (const cut of [...cuts.map((n) => n % bytes.length).sort((x, y) => x - y), bytes.length]) {
    if (cut > from && !peer.socket.write(bytes.subarray(from, cut)))
      await once(peer.socket, "drain");
    from = Math.max(from, cut);
  }
}

test("lines cut anywhere, both ways, arrive byte-equal but for the rewritten id and the added argusSeq", async () => {
  const size = proofSize(4000, 100_000);
  let offset = 0;
  const bridge = await start();
  const [peer, watcher] = [await bridge.join(), await bridge.join()];
  await peer.request("test/echo", {});
  const cases = fc.sample(
    fc.record({
      id: fc.jsonValue({ maxDepth: 1 }),
      text: anyText,
      params: anyParams,
      first: fc.boolean(),
      cuts: fc.array(fc.nat(), { maxLength: 3 }),
    }),
    { numRuns: size, seed: 42 },
  );
  // Down: the app-server emits notifications, byte for byte what we say. Up: it records what it got.
  for (let at = 0; at < cases.length; at += 200) {
    const batch = cases.slice(at, at + 200);
    const emitted = batch.map(({ text, params }) =>
      Buffer.from(
        `{"method":"n","params":${JSON.stringify(params)}, "t":${JSON.stringify(text)}}\n`,
      ),
    );
    const from = watcher.raw.length;
    const pieces = Buffer.concat(emitted);
    const cuts = batch
      .flatMap(({ cuts: own }) => own)
      .map((n) => n % pieces.length)
      .sort((x, y) => x - y);
    const lines = [0, ...cuts].map((start, index) =>
      pieces.subarray(start, cuts[index] ?? pieces.length).toString("base64"),
    );
    await peer.request("test/emit", { lines });
    await watcher.settled();
    const got = watcher.raw.slice(from, -1).filter((line) => line.includes('"method":"n"'));
    expect(got.map((line) => line.toString("latin1").replace(/^\{"argusSeq":\d+,/, "{"))).toEqual(
      emitted.map((line) => line.toString("latin1")),
    );
    const requests = batch.map(({ id, text, params, first }) => {
      const body = `"method":"test/echo", "params":{"t":${JSON.stringify(text)},"p":${JSON.stringify(params)}}`;
      return Buffer.from(
        first
          ? `{"id":${JSON.stringify(id)},${body}}\n`
          : `{${body} ,"id": ${JSON.stringify(id)}}\n`,
      );
    });
    const answersFrom = peer.raw.length;
    await writeInPieces(
      peer,
      Buffer.concat(requests),
      batch.flatMap(({ cuts: own }) => own),
    );
    await peer.waitFor(
      "all answers",
      () =>
        peer.raw.length - answersFrom >= batch.length &&
        answersOf(peer, answersFrom).length === batch.length,
    );
    expect(answersOf(peer, answersFrom)).toEqual(batch.map(({ id }) => JSON.stringify(id)));
    const received = receivedFrom(bridge, offset);
    offset = received.end;
    const echoes = received.lines.filter((line) => line.includes('"method":"test/echo"'));
    expect(echoes.slice(-batch.length).map(withoutId)).toEqual(requests.map(withoutId));
  }
}, 300_000);

function answersOf(peer: BridgePeer, from: number): string[] {
  return peer.raw.slice(from).flatMap((line) => {
    const scan = scanLine(line);
    return scan?.id && !scan.method ? [line.toString("utf8", scan.id.start, scan.id.end)] : [];
  });
}

/** The line with its id cut out: what must be equal on both sides. */
function withoutId(line: Buffer): string {
  const id = scanLine(line)?.id;
  return id ? splice(line, id, Buffer.alloc(0)).toString("latin1") : "";
}

/** What the fake app-server received since the last look, line by line. */
function receivedFrom(bridge: TestBridge, offset: number): { lines: Buffer[]; end: number } {
  const file = openSync(join(bridge.fakeHome, "received"), "r");
  try {
    const bytes = Buffer.alloc(fstatSync(file).size - offset);
    readSync(file, bytes, 0, bytes.length, offset);
    const { lines } = new LineSplitter({ maxBytes: 2 ** 30, onOverflow: "stop" }).push(bytes);
    return { lines, end: offset + bytes.length };
  } finally {
    closeSync(file);
  }
}

test("a thread id inside of a request is found wherever it stands", () => {
  const line = Buffer.from('{"params":{"x":{"threadId":"no"},"threadId":"yes"},"id":1}');
  const [range] = scanMembers(line, scanLine(line)?.params?.start ?? -1, THREAD_ID);
  expect(line.toString("utf8", range?.start, range?.end)).toBe('"yes"');
});
