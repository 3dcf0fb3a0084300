import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { names, scanLine, scanMembers, splice } from "#lib/scan.ts";
import {
  removeVolume,
  startTestBridge,
  type TestBridge,
  type TestBridgeOptions,
} from "#test/support/bridge.ts";
import type { BridgePeer } from "#test/support/bridge-peer.ts";
import { eventually } from "#test/support/eventually.ts";
import { proofSize } from "#test/support/proof.ts";

let bridges: TestBridge[] = [];

async function start(options: TestBridgeOptions = {}): Promise<TestBridge> {
  const bridge = await startTestBridge(options);
  bridges.push(bridge);
  return bridge;
}

afterEach(async () => {
  for (const bridge of bridges) await bridge.stop();
  for (const bridge of bridges) await removeVolume(bridge.volume);
  bridges = [];
});

const threadOf = (result: Record<string, unknown>) => (result.thread as { id: string }).id;
const newThread = async (peer: BridgePeer) => threadOf(await peer.request("thread/start", {}));
const hold = (threadId: string) => ({ threadId, input: [{ type: "text", text: "hold" }] });
const status = async (bridge: TestBridge) => JSON.parse((await bridge.get("/status")).body);

test("each wrong hello is refused with its reason and closed; nothing of it reaches the app-server", async () => {
  const bridge = await start();
  const now = Math.floor(Date.now() / 1000);
  const cases: [string, string | Promise<string>, object][] = [
    ["malformed", "", { role: "boss" }],
    ["signature", "a.b.c", {}],
    ["signature", bridge.token(1, {}, "k2"), {}],
    ["signature", bridge.token(1, {}, "../token"), {}],
    ["audience", bridge.token(1, { aud: "other" }), {}],
    ["time", bridge.token(1, { iat: now - 100, exp: now - 50 }), {}],
    ["time", bridge.token(1, { iat: now + 50, exp: now + 100 }), {}],
    ["time", bridge.token(1, { exp: now + 3600 }), {}],
  ];
  for (const [reason, token, changed] of cases) {
    const peer = bridge.dial();
    const before = Date.now();
    const asked = peer.ask("bridge/hello", { token: await token, role: "client", ...changed });
    peer.send({ id: 1, method: "test/echo", params: { after: reason } });
    const { error } = await asked;
    expect(error?.data).toMatchObject({ reason });
    expect(error?.data?.now).toBeGreaterThanOrEqual(before);
    await peer.closed;
  }
  expect((await status(bridge)).clockSkewMs).toBeDefined();
  const first = bridge.dial();
  first.send({ id: 3, method: "initialize", params: {} });
  expect((await first.waitFor("refusal", ({ id }) => id === 3)).error?.data).toMatchObject({
    reason: "malformed",
  });
  const good = await bridge.join();
  await good.request("test/echo", {});
  expect(bridge.received().some(({ params }) => params?.after !== undefined)).toBe(false);
});

test("a published key counts at once, a withdrawn one no more", async () => {
  const bridge = await start();
  const pem = readFileSync(join(bridge.volume.folder, "keys", "k1"));
  await writeFile(join(bridge.volume.folder, "keys", "k2"), pem);
  const peer = bridge.dial();
  await peer.request("bridge/hello", { token: await bridge.token(1, {}, "k2"), role: "client" });
  await writeFile(join(bridge.volume.folder, "keys", "k1"), "");
  await expect(bridge.join()).rejects.toThrow("not signed");
});

test("a first line that is too long or too late ends the connection without a word", async () => {
  const bridge = await start({ tuning: { helloDeadlineMs: 150 } });
  const long = bridge.dial();
  long.socket.write("x".repeat(20_000));
  await long.closed;
  const silent = bridge.dial();
  silent.socket.write('{"id":1,');
  await silent.closed;
  expect([...long.raw, ...silent.raw]).toEqual([]);
});

test("a higher epoch closes lower ones before it is answered and refuses them for good, also after a restart", async () => {
  const bridge = await start();
  const old = await bridge.join({ epoch: 4 });
  const fresh = await bridge.join({ epoch: 5 });
  await old.closed;
  await expect(bridge.join({ epoch: 4 })).rejects.toThrow("higher epoch");
  await bridge.join({ epoch: 5 });
  await fresh.request("test/echo", {});
  await bridge.stop();
  const next = await start({ volume: bridge.volume });
  bridges.shift();
  await expect(next.join({ epoch: 4 })).rejects.toThrow("higher epoch");
  await next.join({ epoch: 5 });
});

/** A gateway in a process of its own, which can be stopped: sends what it reads on stdin, line by line. */
async function outsider(bridge: TestBridge, epoch: number) {
  const script = `
    const socket = require("node:net").connect(${bridge.running.port}, "127.0.0.1");
    socket.on("data", (chunk) => process.stdout.write(chunk));
    socket.on("error", () => {});
    socket.on("close", () => process.stdout.write("closed\\n"));
    process.stdin.on("data", (chunk) => socket.write(chunk));
  `;
  const child = spawn(process.execPath, ["-e", script], { stdio: ["pipe", "pipe", "inherit"] });
  let seen = "";
  child.stdout.on("data", (chunk: Buffer) => {
    seen += chunk.toString();
  });
  const params = { token: await bridge.token(epoch), role: "lane" };
  child.stdin.write(`${JSON.stringify({ id: 1, method: "bridge/hello", params })}\n`);
  await eventually("hello answered", () => seen.includes('"podToken"'));
  return { child, seen: () => seen };
}

test("a stopped, replaced and resumed gateway starts nothing, not even with what it had sent before", async () => {
  const bridge = await start();
  const owner = await bridge.join({ epoch: 1 });
  const threadId = await newThread(owner);
  const stale = await outsider(bridge, 1);
  stale.child.kill("SIGSTOP");
  const turn = { id: 2, method: "turn/start", params: hold(threadId) };
  stale.child.stdin.write(`${JSON.stringify(turn)}\n`);
  const fresh = await bridge.join({ epoch: 2, role: "lane" });
  stale.child.kill("SIGCONT");
  await eventually("the stale gateway lost its connection", () => stale.seen().includes("closed"));
  await fresh.request("turn/start", hold(threadId));
  await fresh.request("test/echo", {});
  expect(bridge.received().filter(({ method }) => method === "turn/start")).toHaveLength(1);
  stale.child.kill("SIGKILL");
  await once(stale.child, "exit");
});

test("bytes of a lower epoch that the bridge had received but not forwarded are dropped", async () => {
  const bridge = await start();
  const old = await bridge.join({ epoch: 1 });
  const threadId = await newThread(old);
  await old.request("turn/start", { ...hold(threadId), input: [{ type: "text", text: "say x" }] });
  process.kill(bridge.appServerPid(), "SIGKILL");
  await old.notification("argus/bridge/state");
  // Held until the app-server is back, and the connection is fenced off before that.
  old.send({ id: 2, method: "turn/start", params: hold(threadId) });
  const fresh = await bridge.join({ epoch: 2 });
  await old.closed;
  await fresh.request("turn/start", hold(threadId));
  expect(bridge.received().filter(({ method }) => method === "turn/start")).toHaveLength(2);
});

test("a peer that stops reading is cut off at its bound, harms nobody and resumes without a loss", async () => {
  const bridge = await start({
    tuning: { maxUnsentBytes: 4 * 1024 * 1024, ringBytes: 3 * 1024 * 1024 },
  });
  const [slow, busy] = [await bridge.join(), await bridge.join()];
  await busy.request("test/echo", {});
  slow.socket.pause();
  const before = process.memoryUsage().arrayBuffers;
  let peak = 0;
  for (let round = 0; round < 12; round += 1) {
    await busy.request("test/flood", { bytes: 1024 * 1024, count: 4 });
    busy.lines.length = 0;
    busy.raw.length = 0;
    peak = Math.max(peak, process.memoryUsage().arrayBuffers - before);
  }
  await eventually("the slow peer was cut off", async () => (await status(bridge)).peers === 1);
  expect(peak).toBeLessThan(64 * 1024 * 1024);
  slow.socket.resume();
  await slow.closed;
  const seen = Math.max(0, ...slow.lines.map(({ argusSeq = 0 }) => argusSeq));
  const back = await bridge.join({ after: seen, boot: slow.hello.boot });
  await busy.request("test/flood", { bytes: 10, count: 1 });
  const last = await back.waitFor("the newest", ({ params }) => params?.delta === "x".repeat(10));
  const [gap] = back.lines.flatMap(({ method, params }) =>
    method === "argus/gap" ? [params] : [],
  );
  const seqs = back.lines.flatMap(({ argusSeq }) => (argusSeq === undefined ? [] : [argusSeq]));
  expect(gap).toEqual({ from: seen + 1, to: (seqs[0] ?? 0) - 1, boot: slow.hello.boot });
  expect(seqs).toEqual(seqs.map((_, index) => (seqs[0] ?? 0) + index));
  expect(seqs.at(-1)).toBe(last.argusSeq);
});

test("64 MiB without a newline get a clear answer, bounded memory and the end; others go on", async () => {
  const bridge = await start();
  const [rude, other] = [await bridge.join(), await bridge.join()];
  const piece = Buffer.alloc(1024 * 1024, 0x61);
  for (let n = 0; n < 64 && !rude.socket.destroyed; n += 1) {
    if (!rude.socket.write(piece)) await Promise.race([once(rude.socket, "drain"), rude.closed]);
  }
  const { error } = await rude.waitFor("an answer", (line) => line.error !== undefined);
  expect(error?.message).toContain("at most 16777216 bytes");
  await rude.closed;
  await other.request("test/echo", {});
});

test("a line of 8 MiB passes both ways", async () => {
  const bridge = await start();
  const peer = await bridge.join();
  const big = `ü"\\${"x".repeat(8 * 1024 * 1024)}`;
  expect((await peer.request("test/echo", { big })).big).toBe(big);
  await peer.request("test/flood", { bytes: 8 * 1024 * 1024, count: 2 });
  expect(peer.lines.filter(({ method }) => method === "test/flooded")).toHaveLength(2);
});

test("SIGTERM refuses new turns with draining, lets the running one end, and leaves a cause of death", async () => {
  const bridge = await start({ tuning: { graceMs: 20_000 } });
  const peer = await bridge.join();
  const [running, other] = [await newThread(peer), await newThread(peer)];
  await peer.request("turn/start", hold(running));
  const stopped = bridge.drain();
  await peer.waitFor("draining", ({ params }) => params?.state === "draining");
  const { error } = await peer.ask("turn/start", hold(other));
  expect(error).toMatchObject({ code: -32001, data: { reason: "draining" } });
  expect((await bridge.get("/readyz")).status).toBe(503);
  await peer.request("test/finish", { threadId: running });
  await peer.notification("turn/completed");
  await stopped;
  await peer.closed;
  const left = readFileSync(join(bridge.volume.folder, "termination-log"), "utf8");
  expect(JSON.parse(left)).toMatchObject({ reason: "Stopped" });
});

test("install: peers are held until it is done; its failure is told with its last lines", async () => {
  const bridge = await start({
    runtime: { install: 'test -e "$HOME/go" || { echo not yet; exit 4; }' },
  });
  await eventually("failed", async () => (await status(bridge)).state === "failed");
  expect((await bridge.join()).hello.state).toBe("failed");
  const { install, reason } = await status(bridge);
  expect(install).toMatchObject({ state: "failed" });
  expect(install.tail).toContain("not yet");
  expect(reason).toContain("not yet");
  await bridge.stop();
  const next = await start({ volume: bridge.volume, runtime: { install: "sleep 0.5; echo ok" } });
  bridges.shift();
  const early = await next.join();
  expect(early.hello.state).toMatch(/starting|installing/);
  expect(await early.request("test/echo", { held: true })).toEqual({ held: true });
  expect((await status(next)).install.state).toBe("done");
});

test("a question that nobody answers in time is declined; of another kind it gets an error", async () => {
  const bridge = await start({ tuning: { askDeadlineMs: 300 } });
  const peer = await bridge.join();
  const threadId = await newThread(peer);
  await peer.request("turn/start", { threadId, input: [{ type: "text", text: "ask" }] });
  expect((await peer.notification("test/answered")).params?.result).toEqual({
    decision: "decline",
  });
  const other = Buffer.from('{"id":"x","method":"item/tool/call","params":{}}\n').toString(
    "base64",
  );
  await peer.request("test/emit", { lines: [other] });
  const answer = await eventually("an error", () => bridge.received().find(({ id }) => id === "x"));
  expect(answer).toMatchObject({ error: { code: -32000 } });
});

test("of a runtime that is not Codex the first peer's initialize is used, also after a restart; failure reaches all who wait", async () => {
  const bridge = await start({ runtime: { protocol: "jsonl" } });
  const [a, b] = [await bridge.join(), await bridge.join()];
  const [first, second] = await Promise.all([
    a.ask("initialize", { fail: true }),
    b.ask("initialize", { fail: true }),
  ]);
  expect([first.error?.message, second.error?.message]).toEqual(
    Array(2).fill("initialize failed on request"),
  );
  const own = { clientInfo: { name: "own" } };
  const answer = await a.request("initialize", own);
  expect(answer.got).toEqual(own);
  expect(await b.request("initialize", { other: 1 })).toEqual(answer);
  process.kill(bridge.appServerPid(), "SIGKILL");
  await a.notification("argus/restarted");
  const again = await b.request("initialize", { other: 1 });
  expect(again.got).toEqual(own);
  expect(again).not.toEqual(answer);
});

test("bridge/context tells the workspace's files without starting the app-server", async () => {
  const bridge = await start();
  const peer = await bridge.join();
  await peer.request("test/echo", {});
  const { files } = await peer.request("bridge/context");
  expect(Object.keys(files as object)).toContain("AGENTS.md");
});

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
    expect(receivedEchoes(bridge).slice(-batch.length)).toEqual(requests.map(withoutId));
  }
});

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

function receivedEchoes(bridge: TestBridge): string[] {
  const text = readFileSync(join(bridge.fakeHome, "received"));
  const lines: Buffer[] = [];
  for (
    let from = 0, end = text.indexOf(10);
    end >= 0;
    from = end + 1, end = text.indexOf(10, from)
  ) {
    lines.push(text.subarray(from, end + 1));
  }
  return lines.filter((line) => line.includes('"method":"test/echo"')).map(withoutId);
}

test("a thread id inside of a request is found wherever it stands", () => {
  const line = Buffer.from('{"params":{"x":{"threadId":"no"},"threadId":"yes"},"id":1}');
  const [range] = scanMembers(line, scanLine(line)?.params?.start ?? -1, THREAD_ID);
  expect(line.toString("utf8", range?.start, range?.end)).toBe('"yes"');
});
