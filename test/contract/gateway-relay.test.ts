import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { WebSocket } from "ws";
import type { FakePeer } from "#test/fakes/bridge.ts";
import { eventually } from "#test/support/eventually.ts";
import { chunksOf, clientFrame } from "#test/support/frames.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";

let rig: GatewayRig;
let peers: FakePeer[];
let onPeer: (peer: FakePeer) => unknown;
beforeEach(async () => {
  rig = await GatewayRig.start();
  peers = [];
  onPeer = () => {};
  rig.putSession("s");
  await rig.putPod("s", (peer) => {
    peers.push(peer);
    onPeer(peer);
  });
});
afterEach(() => rig.stop());

const BORDERS = [
  2, 115, 116, 117, 118, 125, 126, 127, 1023, 1024, 16_384, 65_530, 65_535, 65_536, 70_000,
];

/** A valid JSON line of exactly `bytes` bytes, with text that has characters of 1 to 4 bytes where there is room. */
function jsonLine(bytes: number, index: number): string {
  const head = `{"i":${index},"t":"`;
  const room = bytes - head.length - 2;
  if (room < 0) return "{}".padEnd(Math.max(2, bytes), " ");
  let text = "";
  let used = 0;
  for (const piece of ["é", "漢", "🎉", "\\n", "\u2028", '\\"', "\\u0000"]) {
    if (used + Buffer.byteLength(piece) > room) continue;
    text += piece;
    used += Buffer.byteLength(piece);
  }
  return `${head}${text}${"x".repeat(room - used)}"}`;
}
function randomLines(): string[] {
  const sizes = Array.from({ length: 100 }, (_, index) =>
    index % 25 === 24
      ? 2 ** 17 + (randomBytes(3).readUIntBE(0, 3) % 2 ** 21)
      : randomBytes(2).readUInt16BE(0) % 3000,
  );
  return [...BORDERS, ...sizes, 2 ** 21].map((size, index) => jsonLine(Math.max(2, size), index));
}
const randomSizes = () =>
  Array.from({ length: 50 }, () => 1 + (randomBytes(2).readUInt16BE(0) % 40_000));

async function open(): Promise<WebSocket> {
  const socket = new WebSocket(`${rig.url.replace("http", "ws")}/ws?session=s&token=${ADMIN}`);
  await once(socket, "open");
  return socket;
}
const sha = (text: string | Buffer) => createHash("sha256").update(text).digest("hex");

test("from the bridge: every line arrives byte for byte, however its bytes were cut", async () => {
  const lines = randomLines();
  const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(""));
  onPeer = async ({ socket }) => {
    socket.setNoDelay(true);
    for (const chunk of chunksOf(bytes, randomSizes())) {
      if (!socket.write(chunk)) await once(socket, "drain");
      else await new Promise((resolve) => setImmediate(resolve));
    }
  };
  const client = await open();
  const got: string[] = [];
  client.on("message", (data: Buffer, binary: boolean) => {
    expect(binary).toBe(false);
    const text = data.toString();
    if (!text.startsWith('{"method":"argus/')) got.push(text);
  });
  await eventually("all lines", () => got.length === lines.length);
  expect(got.map(sha)).toEqual(lines.map(sha));
  client.terminate();
});

test("from the client: masked, fragmented and cut anywhere, every message is one line", async () => {
  const lines = randomLines();
  const received: Buffer[] = [];
  let bytes = 0;
  onPeer = ({ socket }) => {
    socket.on("data", (chunk: Buffer) => {
      received.push(chunk);
      bytes += chunk.length;
    });
    socket.resume();
  };
  const socket = await rawClient();
  const frames = lines.flatMap((line, index) => {
    const payload = Buffer.from(line);
    const mask = randomBytes(4);
    if (index % 3 !== 0) return [clientFrame(1, payload, { mask })];
    const middle = Math.floor(payload.length / 2);
    return [
      clientFrame(1, payload.subarray(0, middle), { mask, final: false }),
      clientFrame(9, Buffer.from("ping"), { mask }),
      clientFrame(0, payload.subarray(middle), { mask: randomBytes(4) }),
    ];
  });
  for (const chunk of chunksOf(Buffer.concat(frames), randomSizes())) {
    if (!socket.write(chunk)) await once(socket, "drain");
    else await new Promise((resolve) => setImmediate(resolve));
  }
  const expected = Buffer.from(lines.map((line) => `${line}\n`).join(""));
  await eventually("all bytes", () => bytes >= expected.length);
  expect(sha(Buffer.concat(received))).toBe(sha(expected));
  socket.destroy();
});

/** The handshake by hand, then a bare socket. */
async function rawClient(): Promise<Socket> {
  const socket = connect(Number(new URL(rig.url).port), "127.0.0.1");
  socket.write(
    `GET /ws?session=s&token=${ADMIN} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\n\r\n`,
  );
  const [head] = (await once(socket, "data")) as [Buffer];
  expect(head.toString("latin1")).toMatch(/^HTTP\/1\.1 101 /);
  socket.on("data", () => {});
  return socket;
}

test("a client that does not read stops its own bridge connection and nobody else's", async () => {
  const line = Buffer.from(`${jsonLine(1000, 0)}\n`.repeat(64));
  let flooded = 0;
  onPeer = ({ socket }) => {
    if (peers.length > 1) {
      socket.pipe(socket);
      return;
    }
    const flood = () => {
      while (!socket.destroyed && socket.write(line)) flooded += line.length;
      flooded += line.length;
    };
    socket.on("drain", flood);
    flood();
  };
  const slow = await open();
  slow.pause();
  await eventually(
    "the flood has stopped",
    stillness(() => flooded),
  );
  const stalledAt = flooded;
  expect(stalledAt).toBeLessThan(64 * 2 ** 20);
  const memory = process.memoryUsage.rss();
  const neighbour = await open();
  for (let index = 0; index < 50; index += 1) {
    const echoed = new Promise((resolve) => {
      neighbour.on("message", (data: Buffer) => data.toString().startsWith('{"id"') && resolve(0));
    });
    neighbour.send(`{"id":${index}}`);
    await echoed;
    neighbour.removeAllListeners("message");
  }
  expect(flooded).toBe(stalledAt);
  expect(process.memoryUsage.rss() - memory).toBeLessThan(32 * 2 ** 20);
  let read = 0;
  slow.on("message", (data: Buffer) => {
    read += data.length;
  });
  slow.resume();
  await eventually("the stream goes on", () => flooded > stalledAt && read > stalledAt / 2);
  slow.terminate();
  neighbour.terminate();
});

/** True once a figure has not moved for half a second. */
function stillness(figure: () => number): () => boolean {
  let last = -1;
  let since = Date.now();
  return () => {
    if (figure() !== last || last === 0) {
      last = figure();
      since = Date.now();
    }
    return Date.now() - since > 500;
  };
}

test("a bridge that does not read stops its client", async () => {
  onPeer = ({ socket }) => socket.pause();
  const client = await open();
  const message = jsonLine(60_000, 1);
  let sent = 0;
  const send = () => {
    while (client.bufferedAmount < 2 ** 20 && sent < 2000) {
      client.send(message);
      sent += 1;
    }
  };
  const timer = setInterval(send, 5);
  await eventually(
    "the client is not read any more",
    stillness(() => sent),
  );
  expect(sent).toBeLessThan(1000);
  peers[0]?.socket.resume();
  await eventually("it goes on", () => sent === 2000);
  clearInterval(timer);
  client.terminate();
});

test("64 MiB without a newline end that connection with 1009, in bounded memory, and nothing else", async () => {
  const piece = Buffer.alloc(2 ** 20, "x");
  onPeer = ({ socket }) => {
    if (peers.length > 1) return;
    const flood = () => {
      while (!socket.destroyed && socket.write(piece));
    };
    socket.on("drain", flood);
    flood();
  };
  const client = await open();
  const [code, reason] = (await once(client, "close")) as [number, Buffer];
  expect(code).toBe(1009);
  expect(reason.toString()).toContain("67108864");
  const other = await open();
  const [first] = (await once(other, "message")) as [Buffer];
  expect(first.toString()).toContain("argus/session");
  other.terminate();
});

test.each<[string, (client: WebSocket) => void, number]>([
  [
    "a message over 16 MiB",
    (client) => client.send(Buffer.alloc(2 ** 24 + 1, "x").toString()),
    1009,
  ],
  [
    "text that is not UTF-8",
    (client) => client.send(Buffer.from([0x7b, 0xff]), { binary: false }),
    1007,
  ],
  ["a binary frame", (client) => client.send(Buffer.from("{}")), 1003],
])("%s has its own close code", async (_, send, code) => {
  const client = await open();
  client.on("error", () => {});
  send(client);
  expect((await once(client, "close"))[0]).toBe(code);
});

test("a message of 16 MiB passes", async () => {
  onPeer = ({ socket }) => socket.pipe(socket);
  const client = await open();
  const message = jsonLine(2 ** 24, 1);
  client.send(message);
  const got = await new Promise<Buffer>((resolve) => {
    client.on("message", (data: Buffer) => data.length > 1000 && resolve(data));
  });
  expect(sha(got)).toBe(sha(message));
  client.terminate();
});
