import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type Adapter, type AdapterOptions, startAdapter } from "#channel/adapter.ts";
import { Connection } from "#channel/connection.ts";
import { takeOut } from "#channel/take-out.ts";
import { ArgusError } from "#lib/errors.ts";
import { silentLogger } from "#lib/logger.ts";
import { CHANNEL, HelloResult } from "#protocol/channel.ts";
import type { Attachment } from "#protocol/lane-entry.ts";
import { CHUNK_BYTES, MAX_FILE_IN_BYTES } from "#protocol/workspace-files.ts";
import { ArgusUp } from "#test/support/argus-up.ts";
import { eventually } from "#test/support/eventually.ts";

let up: ArgusUp;
const stop = new AbortController();
beforeAll(async () => {
  up = await ArgusUp.start();
});
afterAll(async () => {
  stop.abort();
  await up?.destroy();
});

/** The channel's files by id, and what it was given to show. */
const files = new Map<string, () => AsyncIterable<Uint8Array>>();
const shown: string[] = [];
let onSend: (text: string, deliveryId: string) => Promise<void> = async () => {};
let running: { adapter: Adapter; stop: AbortController } | undefined;
afterEach(async () => {
  running?.stop.abort();
  await running?.adapter.closed.catch(() => undefined);
  running = undefined;
});

async function connect(): Promise<Adapter> {
  const own = new AbortController();
  const options: AdapterOptions = {
    gatewayUrl: up.url,
    token: async () => up.token,
    channel: "files",
    adapter: "files",
    parallel: 4,
    logger: silentLogger(),
    sender: {
      parts: ({ text }) => [text],
      send: async ({ text, delivery }) => {
        await onSend(text, delivery.id);
        shown.push(text);
        return { state: "sent", ref: String(shown.length) };
      },
    },
    openFile: async ({ fileId }) => {
      const file = files.get(fileId);
      if (!file) throw new ArgusError("NotFound", "Telegram has deleted it");
      return file();
    },
  };
  const adapter = startAdapter(options, AbortSignal.any([own.signal, stop.signal]));
  running = { adapter, stop: own };
  await adapter.ready;
  return adapter;
}

async function say(adapter: Adapter, key: string, attachments: Attachment[]): Promise<string> {
  await adapter.input({ sessionId: "main", chatKey: "ann", key, text: `see ${key}`, attachments });
  return await eventually(`the answer to ${key}`, () =>
    shown.find((text) => text.includes(`see ${key}`)),
  );
}

const pathIn = (answer: string) => /- \w+: (\S+)/.exec(answer)?.[1] ?? "";

async function* inPieces(bytes: Buffer): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 50_000) yield bytes.subarray(at, at + 50_000);
}

test("a message's files are in the workspace before its turn, whole, and named to the agent", async () => {
  const bytes = randomBytes(3 * CHUNK_BYTES + 17);
  files.set("F1", () => inPieces(bytes));
  files.set("F2", () => inPieces(Buffer.alloc(0)));
  const answer = await say(await connect(), "two files", [
    { kind: "image", fileId: "F1", name: "../my holiday.jpg", mimeType: "image/jpeg" },
    { kind: "file", fileId: "F2", name: "empty.txt" },
  ]);
  expect(pathIn(answer)).toMatch(/\/inbox\/in-[^/]+\/1-my_holiday\.jpg$/);
  expect((await readFile(pathIn(answer))).equals(bytes)).toBe(true);
  expect(answer).toMatch(/- file: \/\S+\/2-empty\.txt/);
});

test("a file that cannot be had is told to the agent with the reason, and the turn runs", async () => {
  files.set("huge", () => inPieces(Buffer.alloc(MAX_FILE_IN_BYTES + 1)));
  const answer = await say(await connect(), "no files", [
    { kind: "audio", fileId: "gone", name: "voice.ogg" },
    { kind: "file", fileId: "huge", name: "huge.bin" },
    { kind: "video", fileId: "named", name: "film.mp4", bytes: 30 * 1024 * 1024 },
  ]);
  expect(answer).toContain('audio "voice.ogg" is not here: Telegram has deleted it');
  expect(answer).toContain('file "huge.bin" is not here: it is larger than 20 MB');
  expect(answer).toContain('video "film.mp4" is not here: it is larger than 20 MB');
});

test("gateway and adapter may die on the way: the file comes whole", async () => {
  const bytes = randomBytes(2 * CHUNK_BYTES + 5);
  let opened = 0;
  files.set("F3", async function* () {
    opened += 1;
    const isFirst = opened === 1;
    yield bytes.subarray(0, CHUNK_BYTES + 1);
    if (isFirst) {
      for (const { pid } of up.find("argus.mjs gateway")) process.kill(pid, "SIGKILL");
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    yield bytes.subarray(CHUNK_BYTES + 1);
  });
  const answer = await say(await connect(), "a kill", [
    { kind: "file", fileId: "F3", name: "report.pdf" },
  ]);
  expect(opened).toBeGreaterThan(1);
  expect((await readFile(pathIn(answer))).equals(bytes)).toBe(true);
});

test("a file that the answer names goes out of its own session's workspace, while the delivery is held", async () => {
  const bytes = randomBytes(2 * CHUNK_BYTES + 9);
  files.set("F4", () => inPieces(bytes));
  const adapter = await connect();
  const got: Buffer[] = [];
  const refused: string[] = [];
  let held = "";
  onSend = async (text, deliveryId) => {
    if (!text.includes("see out")) return;
    held = deliveryId;
    const ask: Parameters<typeof takeOut>[0] = (method, params, result) =>
      adapter.ask(method, params, result);
    for await (const piece of takeOut(ask, { deliveryId, path: pathIn(text) })) got.push(piece);
    for (const path of ["/etc/passwd", "../../private/token", "none.txt"]) {
      await takeOut(ask, { deliveryId, path })
        .next()
        .catch((error: Error) => refused.push(error.message));
    }
  };
  await say(adapter, "out", [{ kind: "file", fileId: "F4", name: "chart.png" }]);
  expect(Buffer.concat(got).equals(bytes)).toBe(true);
  expect(refused).toEqual([
    "/etc/passwd is no file in the workspace.",
    "../../private/token is no file in the workspace.",
    "There is no such file in the workspace.",
  ]);
  const other = await Connection.open(
    { gatewayUrl: up.url, token: up.token, onNotice: () => {} },
    stop.signal,
  );
  await other.request(CHANNEL.hello, { channel: "files", adapter: "other" }, HelloResult);
  const ask: Parameters<typeof takeOut>[0] = (method, params, result) =>
    other.request(method, params, result);
  const stolen = takeOut(ask, { deliveryId: held, path: "AGENTS.md" }).next();
  await expect(stolen).rejects.toMatchObject({ code: "Conflict" });
  other.close();
});
