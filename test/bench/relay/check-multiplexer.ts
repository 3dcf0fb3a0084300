import { deepStrictEqual } from "node:assert/strict";
import { once } from "node:events";
import { connect } from "node:net";
import { join } from "node:path";
import { LineSplitter } from "#lib/lines.ts";
import { type BridgeCandidate, startBridgeCandidate } from "./bridge.ts";
import { randomSource } from "./random-lines.ts";

const PEERS = 5;
const WAIT_MS = 60_000;
const MAX_LINE = 4 << 20;
/** Below the bridge's bound on requests in flight, all peers together. */
const WINDOW = 8;

/** Five peers ask at once with ids of every kind at every place; each answer must be its asker's, with its very id. */
export async function checkMultiplexer(folder: string, requests: number): Promise<void> {
  const mirror = join(import.meta.dirname, "mirror.ts");
  const bridge = await startBridgeCandidate(folder, [process.execPath, mirror]);
  try {
    const peers = Array.from({ length: PEERS }, (_, peer) => askAll(bridge, peer, requests));
    await Promise.all(peers);
  } finally {
    await bridge.stop();
  }
}

async function askAll(bridge: BridgeCandidate, peer: number, requests: number): Promise<void> {
  const random = randomSource(peer + 1);
  const socket = connect(bridge.port, "127.0.0.1");
  const open = new Map<string, unknown>();
  const splitter = new LineSplitter({ maxBytes: MAX_LINE, onOverflow: "stop" });
  let answered = 0;
  let asked = 0;
  const ask = () => {
    const { id, params, line } = request(peer, asked, random);
    asked += 1;
    open.set(JSON.stringify(id), params);
    socket.write(line);
  };
  const take = (line: Buffer) => {
    const message = JSON.parse(line.toString()) as Record<string, unknown>;
    if (message["method"] !== undefined) return;
    const key = JSON.stringify(message["id"]);
    const params = open.get(key);
    if (!open.delete(key)) throw new Error(`peer ${peer}: an answer that nobody asked for: ${key}`);
    deepStrictEqual((message["result"] as { params: unknown }).params, params);
    answered += 1;
    if (asked < requests) ask();
    if (answered === requests) socket.end();
  };
  let greeted = false;
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`peer ${peer}: ${answered} of ${requests} answers came`));
    }, WAIT_MS);
    socket.on("data", (chunk: Buffer) => {
      try {
        for (const line of splitter.push(chunk).lines) {
          if (greeted) take(line);
          else greeted = true;
        }
        if (greeted && asked === 0) for (let index = 0; index < WINDOW; index += 1) ask();
      } catch (error) {
        socket.destroy();
        reject(error instanceof Error ? error : new Error(String(error)));
      }
    });
    socket.on("error", reject);
    socket.on("close", () => {
      clearTimeout(timer);
      if (answered === requests) resolve();
      else reject(new Error(`peer ${peer}: closed after ${answered} of ${requests} answers`));
    });
    once(socket, "connect").then(
      async () => socket.write(`${await bridge.greeting()}\n`),
      () => undefined,
    );
  });
}

function request(peer: number, index: number, random: () => number) {
  const ids = [index, `s-${index}`, `"${index}\\é`, { nested: [index] }, -1 - index, [index, peer]];
  const id = ids[Math.floor(random() * ids.length)] ?? index;
  const params = {
    peer,
    index,
    id: "not mine",
    method: "neither",
    pad: "x€".repeat(random() * 300),
  };
  const [i, m, p] = [JSON.stringify(id), '"bench/echo"', JSON.stringify(params)];
  const lines = [
    `{"id":${i},"method":${m},"params":${p}}\n`,
    `{"params":${p},"method":${m},"id":${i}}\n`,
    `{ "method" : ${m} , "id" : ${i} , "params" : ${p} }\n`,
  ];
  return { id, params, line: lines[Math.floor(random() * lines.length)] ?? "" };
}
