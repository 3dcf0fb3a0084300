import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { WebSocket } from "ws";
import { proofOf, publicKeyOf } from "#node-host/identity.ts";
import type { ArgusUp } from "#test/support/argus-up.ts";
import { clientOf } from "#test/support/devices.ts";

type Gateway = Pick<ArgusUp, "url" | "token">;
type Payload = Record<string, unknown>;

/** A connection whose frames can be waited for by their event. */
function opened(url: string, token?: string) {
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const socket = new WebSocket(url, { headers, perMessageDeflate: false });
  const frame = (event: string) =>
    new Promise<Payload>((resolve, reject) => {
      socket.on("message", (data: Buffer) => {
        const message = JSON.parse(data.toString("utf8")) as { event: string; payload: Payload };
        if (message.event === event) resolve(message.payload);
      });
      socket.on("close", (code, reason) => reject(new Error(`${code} ${reason.toString()}`)));
      socket.on("error", reject);
    });
  return { socket, frame };
}

/** Pairs `count` devices of session main and answers their tokens. */
export async function pairMany(up: Gateway, count: number): Promise<Map<string, string>> {
  const url = `${up.url.replace("http", "ws")}/nodes/ws`;
  const tokens = new Map<string, string>();
  const client = await clientOf(up, "main");
  for (let index = 0; index < count; index += 1) {
    const nodeId = `device-${index}`;
    const { privateKey, publicKey } = generateKeyPairSync("ed25519");
    const { socket, frame } = opened(url);
    const [challenge, pending, confirmed] = [
      frame("pair.challenge"),
      frame("pair.pending"),
      frame("pair.confirmed"),
    ];
    const send = (message: object) => socket.send(JSON.stringify(message));
    socket.on("open", () =>
      send({ type: "pair.request", nodeId, publicKey: publicKeyOf(publicKey) }),
    );
    const signature = proofOf(privateKey, String((await challenge).nonce));
    send({ type: "event", event: "pair.proof", payload: { signature } });
    await client.request("argus/node/approve", { code: (await pending).code });
    tokens.set(nodeId, String((await confirmed).token));
    socket.terminate();
  }
  await client.close();
  return tokens;
}

/** All devices at once; resolves when each was welcomed, to the time that took and what closes them. */
export async function connectAll(up: Gateway, tokens: Map<string, string>) {
  const url = `${up.url.replace("http", "ws")}/nodes/ws`;
  const started = performance.now();
  const sockets = await Promise.all(
    [...tokens].map(async ([nodeId, token]) => {
      const { socket, frame } = opened(url, token);
      const welcome = frame("node.connected");
      socket.on("open", () => socket.send(JSON.stringify({ type: "connect", nodeId })));
      await welcome;
      return socket;
    }),
  );
  const ms = performance.now() - started;
  return { ms, close: () => sockets.forEach((socket) => socket.terminate()) };
}

/** Of the process, once it has settled. */
export async function residentKiB(pid: number): Promise<number> {
  let last = Number.POSITIVE_INFINITY;
  for (;;) {
    await delay(3000);
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
    const now = Number(/^Pss:\s+(\d+)/m.exec(text)?.[1]);
    if (Math.abs(now - last) < 512) return now;
    last = now;
  }
}
