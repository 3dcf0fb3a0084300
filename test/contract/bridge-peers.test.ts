import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { TestBridge } from "#test/support/bridge.ts";
import type { BridgePeer } from "#test/support/bridge-peer.ts";
import { bridgeSuite } from "#test/support/bridge-suite.ts";
import { eventually } from "#test/support/eventually.ts";
import { liveBufferBytes } from "#test/support/live-bytes.ts";

const start = bridgeSuite();

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
    ["role", bridge.token(1, { role: "client" }), { role: "lane" }],
    ["role", bridge.token(1, { role: undefined }), {}],
    ["malformed", bridge.token(1, { jti: undefined }), {}],
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

test("a token works once", async () => {
  const bridge = await start();
  const token = await bridge.token(1);
  await bridge.dial().request("bridge/hello", { token, role: "client" });
  const thief = bridge.dial();
  const { error } = await thief.ask("bridge/hello", { token, role: "client" });
  expect(error?.data).toMatchObject({ reason: "used" });
  await thief.closed;
});

test("a connection too many is told so before it is closed", async () => {
  const bridge = await start();
  const strangers = Array.from({ length: 64 }, () => bridge.dial());
  for (const { socket } of strangers) if (socket.connecting) await once(socket, "connect");
  const late = bridge.dial();
  const line = await late.waitFor("the reason", ({ error }) => error !== undefined);
  expect(line.error).toMatchObject({ code: -32001, data: { reason: "busy" } });
  await late.closed;
});

test("a peer too many is answered before it is closed", async () => {
  const bridge = await start();
  for (let n = 0; n < 256; n += 1) await bridge.join();
  const late = bridge.dial();
  const hello = { token: await bridge.token(1), role: "client" };
  expect((await late.ask("bridge/hello", hello)).error?.data).toMatchObject({ reason: "busy" });
  await late.closed;
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
  const params = { token: await bridge.token(epoch, { role: "lane" }), role: "lane" };
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
  const from = old.lines.length;
  process.kill(bridge.appServerPid(), "SIGKILL");
  await old.waitFor("its end", ({ params }) => params?.state === "starting", from);
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
  const before = liveBufferBytes();
  let peak = 0;
  for (let round = 0; round < 12; round += 1) {
    await busy.request("test/flood", { bytes: 1024 * 1024, count: 4 });
    busy.lines.length = 0;
    busy.raw.length = 0;
    peak = Math.max(peak, liveBufferBytes() - before);
  }
  await eventually("the slow peer was cut off", async () => (await status(bridge)).peers === 1);
  expect(peak).toBeLessThan(16 * 1024 * 1024);
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
