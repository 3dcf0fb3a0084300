import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { setImmediate as nextTurn } from "node:timers/promises";
import { OPCODE } from "#lib/frames.ts";
import { LineSplitter } from "#lib/lines.ts";
import { clientFrame, serverFrames } from "#test/support/frames.ts";
import type { Candidate, Settings } from "./load.ts";
import { randomChunks, randomLines, randomSource } from "./random-lines.ts";

const SEED = 20_251_124;
const WAIT_MS = 60_000;
const MAX_LINE = 4 << 20;

/** Sends random lines both ways through a WebSocket relay and compares every byte. Throws at the first difference. */
export async function checkRelay(candidate: Candidate, count: number): Promise<void> {
  const settings = await candidate.settings();
  const random = randomSource(SEED);
  const server = createServer();
  const [host = "", port = ""] = String(settings.listen).split(":");
  server.listen(Number(port), host);
  await once(server, "listening");
  const client = connect(toAddress(settings.front));
  try {
    const accepted = once(server, "connection") as Promise<[Socket]>;
    const frames = await shakeHands(client, settings);
    const [upstream] = await accepted;
    const lines = collectLines(upstream);
    if (settings.hello) await answerHello(upstream, lines, String(settings.hello));
    const down = randomLines(count, random);
    const up = randomLines(count, random);
    await Promise.all([sendLines(upstream, down, random), sendFrames(client, up, random)]);
    await arrived(lines, up, `${candidate.name}, to the upstream`);
    await arrived(frames, down, `${candidate.name}, to the client`);
  } finally {
    client.destroy();
    server.close();
    await once(server, "close");
  }
}

const toAddress = (front: unknown) => {
  const [host = "", port = ""] = String(front).split(":");
  return { host, port: Number(port) };
};

/** Messages in order; `changed` resolves when there is another one. */
interface Inbox {
  messages: Buffer[];
  changed(): Promise<unknown>;
}

function inbox(socket: Socket, take: (chunk: Buffer, messages: Buffer[]) => void): Inbox {
  const messages: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => take(chunk, messages));
  // A reset shows as missing messages.
  socket.on("error", () => undefined);
  return {
    messages,
    changed: () => once(socket, "data", { signal: AbortSignal.timeout(WAIT_MS) }),
  };
}

function collectLines(socket: Socket): Inbox {
  const splitter = new LineSplitter({ maxBytes: MAX_LINE, onOverflow: "stop" });
  return inbox(socket, (chunk, messages) => {
    for (const line of splitter.push(Buffer.from(chunk)).lines) messages.push(line.subarray(0, -1));
  });
}

async function shakeHands(client: Socket, { path = "/ws", auth = "" }: Settings): Promise<Inbox> {
  const bearer = auth ? `Authorization: Bearer ${auth}\r\n` : "";
  client.write(
    `GET ${path} HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      `Sec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\nSec-WebSocket-Version: 13\r\n${bearer}\r\n`,
  );
  let head: Buffer = Buffer.alloc(0);
  while (!head.includes("\r\n\r\n")) {
    const [chunk] = (await once(client, "data")) as [Buffer];
    head = Buffer.concat([head, chunk]);
  }
  if (!head.toString("latin1").startsWith("HTTP/1.1 101")) throw new Error(head.toString("latin1"));
  let rest = head.subarray(head.indexOf("\r\n\r\n") + 4);
  const take = (chunk: Buffer, messages: Buffer[]) => {
    const read = serverFrames(Buffer.concat([rest, chunk]));
    rest = read.rest;
    for (const { opcode, payload } of read.frames) {
      // What the gateway says itself is not compared.
      const own = payload.subarray(0, 16).equals(Buffer.from('{"method":"argus'));
      if (opcode === OPCODE.text && !own) messages.push(payload);
    }
  };
  return inbox(client, take);
}

async function answerHello(upstream: Socket, lines: Inbox, result: string): Promise<void> {
  while (lines.messages.length === 0) await lines.changed();
  const { id } = JSON.parse(String(lines.messages.shift())) as { id: number };
  upstream.write(`{"id":${id},"result":${result}}\n`);
}

async function sendLines(socket: Socket, lines: readonly Buffer[], random: () => number) {
  const newline = Buffer.from("\n");
  await sendChopped(socket, Buffer.concat(lines.flatMap((line) => [line, newline])), random);
}

/** Some messages whole, some in fragments, with their own masks. */
async function sendFrames(socket: Socket, lines: readonly Buffer[], random: () => number) {
  const frames = lines.flatMap((line) => {
    const mask = Buffer.from([random() * 256, random() * 256, random() * 256, random() * 256]);
    if (random() < 0.6) return [clientFrame(OPCODE.text, line, { mask })];
    const cut = Math.floor(random() * line.length);
    return [
      clientFrame(OPCODE.text, line.subarray(0, cut), { mask, final: false }),
      clientFrame(OPCODE.continuation, line.subarray(cut), { mask }),
    ];
  });
  await sendChopped(socket, Buffer.concat(frames), random);
}

async function sendChopped(socket: Socket, bytes: Buffer, random: () => number): Promise<void> {
  socket.setNoDelay(true);
  for (const chunk of randomChunks(bytes, random)) {
    if (!socket.write(chunk)) await once(socket, "drain", { signal: AbortSignal.timeout(WAIT_MS) });
    await nextTurn();
  }
}

async function arrived(inbox: Inbox, expected: readonly Buffer[], what: string): Promise<void> {
  while (inbox.messages.length < expected.length) await inbox.changed();
  for (const [index, wanted] of expected.entries()) {
    const got = inbox.messages[index];
    if (got?.equals(wanted)) continue;
    throw new Error(
      `${what}: line ${index} of ${wanted.length} bytes differs (${got?.length} bytes came)`,
    );
  }
}
