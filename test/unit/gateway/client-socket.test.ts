import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type ClientHandler, ClientSocket } from "#gateway/client-socket.ts";
import { clientFrame, serverFrames } from "#test/support/frames.ts";

let server: Server;
let peer: Socket;
let client: ClientSocket;
let closed: Promise<void>;
const lines: string[] = [];

beforeEach(async () => {
  lines.length = 0;
  const accepted = Promise.withResolvers<Socket>();
  server = createServer((socket) => accepted.resolve(socket)).listen(0, "127.0.0.1");
  await once(server, "listening");
  peer = connect((server.address() as AddressInfo).port, "127.0.0.1");
  const over = Promise.withResolvers<void>();
  closed = over.promise;
  const handler: ClientHandler = {
    accept: () => true,
    lines: (next) => lines.push(...next.map(String)) > 0,
    forwarded: true,
    drained: () => {},
    closed: over.resolve,
    tick: () => {},
  };
  client = new ClientSocket(await accepted.promise, handler);
});
afterEach(async () => {
  peer.destroy();
  await closed;
  server.close();
});

test("a peer that gives no sign of life for three pings is cut", async () => {
  peer.on("data", () => {});
  for (let index = 0; index < 4; index += 1) client.ping();
  await closed;
});

test("any byte is a sign of life", async () => {
  let pings = 0;
  peer.on("data", (chunk: Buffer) => {
    pings += serverFrames(chunk).frames.filter(({ opcode }) => opcode === 9).length;
  });
  for (let index = 1; index <= 6; index += 1) {
    client.ping();
    peer.write(clientFrame(10, Buffer.alloc(0)));
    peer.write(clientFrame(1, Buffer.from(`{"n":${index}}`)));
    while (lines.length < index) await new Promise((resolve) => setImmediate(resolve));
  }
  expect(pings).toBeGreaterThan(3);
  peer.end();
});

test.each([
  ["its own legal code", Buffer.from([0x0f, 0xa0]), 4000],
  ["nothing", Buffer.alloc(0), 1000],
  ["a code that must not travel", Buffer.from([0x03, 0xee]), 1002],
  ["half a code", Buffer.from([1]), 1002],
])("a close frame with %s is answered", async (_, payload, code) => {
  peer.write(clientFrame(8, payload));
  const [chunk] = (await once(peer, "data")) as [Buffer];
  const [frame] = serverFrames(chunk).frames;
  expect([frame?.opcode, frame?.payload.readUInt16BE(0)]).toEqual([8, code]);
  peer.end();
});

test("a ping is answered with its payload", async () => {
  peer.write(clientFrame(9, Buffer.from("hi")));
  const [chunk] = (await once(peer, "data")) as [Buffer];
  expect(serverFrames(chunk).frames).toEqual([{ opcode: 10, payload: Buffer.from("hi") }]);
});

test("answers to a peer that never reads are bounded, and go on when it reads", async () => {
  const ping = clientFrame(9, Buffer.alloc(125, 120));
  const batch = Buffer.concat(Array.from({ length: 8192 }, () => ping));
  peer.pause();
  let sent = 0;
  // Until the other side has stopped to read for a while, or has taken far more than kernels keep.
  const flood = async () => {
    for (; sent < 64; sent += 1) {
      const stalled = AbortSignal.timeout(1000);
      if (!peer.write(batch)) await once(peer, "drain", { signal: stalled });
    }
  };
  await flood().catch(() => undefined);
  expect(sent).toBeLessThan(64);
  const wanted = (sent + 1) * 8192 * 127;
  let answered = 0;
  await new Promise<void>((resolve) => {
    peer.on("data", (chunk: Buffer) => {
      answered += chunk.length;
      if (answered >= wanted) resolve();
    });
    peer.resume();
  });
  expect(answered).toBe(wanted);
}, 20_000);
