import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { afterEach, beforeEach, expect, test } from "vitest";
import { WebSocket } from "ws";
import { pairMany } from "#test/bench/nodes/idle.ts";
import { argus } from "#test/support/argus-up.ts";
import { clientOf, connected, joined, pair } from "#test/support/devices.ts";
import { eventually } from "#test/support/eventually.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";
import { NodeHostProcess } from "#test/support/node-host.ts";
import { processesOf } from "#test/support/processes.ts";
import { proofSize, proved } from "#test/support/proof.ts";
import type { WsClient } from "#test/support/ws-client.ts";
import { bundleNodeHost } from "../../scripts/bundle.ts";

let rig: GatewayRig;
let client: WsClient;
const hosts: NodeHostProcess[] = [];
const closers: (() => Promise<void>)[] = [];
beforeEach(async () => {
  rig = await GatewayRig.start();
  rig.putSession("main");
  client = await clientOf(gateway(), "main");
});
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
  for (const host of hosts.splice(0)) await host.remove();
  await client.close();
  await rig.stop();
});

const gateway = () => ({ url: rig.url, token: ADMIN });
const cli = (first: string, ...words: string[]) =>
  argus([first, "--url", rig.url, "--token", ADMIN, ...words]);

async function device(nodeId = "laptop"): Promise<NodeHostProcess> {
  const host = await joined(gateway(), { nodeId, session: "main" });
  hosts.push(host);
  return host;
}

interface Job {
  jobId: string;
  running: boolean;
  orphaned: boolean;
}
const invoke = (command: string, params: object, more: object = {}) =>
  client.request("argus/node/invoke", { node: "laptop", command, params, ...more });
const jobs = async () => ((await invoke("process.list", {})).payload as { jobs: Job[] }).jobs;

/** Hears no SIGTERM, and leaves its group and session with children that do not either. */
const STUBBORN = `trap '' TERM
(setsid sh -c "trap '' TERM; (setsid sleep 3021 &); sleep 3022; sleep 3023" &)
sleep 3024; sleep 3025`;
const stubborn = (host: NodeHostProcess) =>
  processesOf(host.folder).filter(({ command }) => /sleep 30[0-9][0-9]/.test(command));
const grown = (host: NodeHostProcess) =>
  eventually("the tree", () => ["3021", "3022", "3024"].every((each) => has(host, each)), 15_000);
const has = (host: NodeHostProcess, seconds: string) =>
  stubborn(host).some(({ command }) => command.startsWith(`sleep ${seconds}`));

test("a program that ignores SIGTERM and forks away ends as a tree, by a kill, a withdrawn call and Ctrl-C", async () => {
  const host = await device();
  const argv = ["sh", "-c", STUBBORN];
  const { payload } = await invoke("system.run", { argv, yieldMs: 0 });
  await grown(host);
  const { jobId } = payload as Job;
  expect(await invoke("process.kill", { jobId })).toMatchObject({ ok: true });
  expect(stubborn(host)).toEqual([]);

  const mcp = new Client({ name: "test", version: "1" });
  const authorization = `Bearer ${(await rig.putPod("main")).token}`;
  const requestInit = { headers: { authorization } };
  await mcp.connect(new StreamableHTTPClientTransport(new URL(`${rig.url}/mcp`), { requestInit }));
  closers.push(() => mcp.close());
  const stop = new AbortController();
  const call = { node: "laptop", command: "system.run", params: { argv, yieldMs: 60_000 } };
  const asked = { name: "node_invoke", arguments: call };
  const withdrawn = mcp
    .callTool(asked, undefined, { signal: stop.signal })
    .catch((error: Error) => error.message);
  await grown(host).catch(async (error: Error) => {
    throw new Error(`${error.message}: ${JSON.stringify(await withdrawn)}`);
  });
  stop.abort();
  expect(await withdrawn).toMatch(/abort/i);
  await eventually("it is ended", () => stubborn(host).length === 0, 15_000);

  const running = cli("run", "laptop", "--", ...argv);
  await grown(host);
  const own = processesOf(rig.url).filter(({ command }) => /argus.* run --url/.test(command));
  for (const { pid } of own) process.kill(pid, "SIGINT");
  expect((await running).code).not.toBe(0);
  expect(stubborn(host)).toEqual([]);
}, 60_000);

test("within 5 s of a node-host's restart each former job goes on, or is ended as a tree and told of", async () => {
  // What devices run: the one file starts faster than the sources.
  const folder = await mkdtemp(join(tmpdir(), "argus-node-file-"));
  closers.push(() => rm(folder, { recursive: true }));
  const file = join(folder, "node-host.mjs");
  await bundleNodeHost(file);
  const host = await NodeHostProcess.make({ default: "allow" }, [process.execPath, file]);
  hosts.push(host);
  await pair(gateway(), host, { nodeId: "laptop", session: "main" });
  host.start(["run"]);
  await connected(gateway(), "laptop", "main");
  const argv = ["sh", "-c", STUBBORN];
  const started = await Promise.all(
    Array.from({ length: 6 }, () => invoke("system.run", { argv, yieldMs: 0 })),
  );
  const ids = started.map(({ payload }) => (payload as Job).jobId);
  await grown(host);
  await host.kill();
  const lost = ids.slice(0, 3);
  for (const { pid, command } of processesOf(host.folder)) {
    if (lost.some((id) => command.includes(`supervise`) && command.includes(id)))
      process.kill(pid, "SIGKILL");
  }
  const began = performance.now();
  host.start(["run"]);
  await connected(gateway(), "laptop", "main");
  const told = await eventually("all are told", async () => {
    const found = await jobs();
    const settled = found.filter(({ jobId, running, orphaned }) =>
      lost.includes(jobId) ? orphaned && !running : running,
    );
    return settled.length === ids.length && found;
  });
  const ms = performance.now() - began;
  expect(ms).toBeLessThan(5000);
  expect(told).toHaveLength(6);
  proved(`6 jobs settled ${Math.round(ms)} ms after the node-host's start`);
  // What is left belongs to the three that go on.
  expect(stubborn(host).filter(({ command }) => command.startsWith("sleep 3024"))).toHaveLength(3);
  const ends = async () => {
    const { events } = await client.request("argus/event/list", {});
    return (events as { text: string }[]).filter(({ text }) => text.includes("orphaned=true"));
  };
  await eventually("three ends are events", async () => (await ends()).length === 3);
}, 60_000);

test.each([
  ["a day behind", -86_400_000],
  ["a day ahead", 86_400_000],
])(
  "a device whose clock is %s: tokens, deadlines and ages are right",
  async (_, shiftMs) => {
    const shift = join(import.meta.dirname, "..", "support", "shift-clock.ts");
    const program = join(import.meta.dirname, "..", "..", "cli", "node-host.ts");
    const command = [process.execPath, "--import", shift, program];
    const host = await NodeHostProcess.make({ default: "allow" }, command);
    hosts.push(host);
    const env = { CLOCK_SHIFT_MS: String(shiftMs) };
    await pair(gateway(), host, { nodeId: "laptop", session: "main", env });
    host.start(["run"], env);
    await connected(gateway(), "laptop", "main");
    const { payload } = await invoke("process.list", {});
    const skewMs = (payload as { nowMs: number }).nowMs - Date.now();
    expect(Math.abs(skewMs - shiftMs)).toBeLessThan(10_000);
    const late = { argv: ["sleep", "3001"], timeoutMs: 300, yieldMs: 20_000 };
    expect(await invoke("system.run", late)).toMatchObject({ payload: { timedOut: true } });
    await invoke("system.run", { argv: ["sleep", "3002"], yieldMs: 0 });
    expect((await cli("jobs")).stdout).toMatch(/running +\d+s +sleep 3002/);
    await host.kill();
    host.start(["run"], env);
    await connected(gateway(), "laptop", "main");
    expect((await jobs()).filter(({ running }) => running)).toHaveLength(1);
    await host.kill();
    await eventually("it is away", async () => {
      const { nodes } = await client.request("argus/node/list");
      return (nodes as { connected: boolean }[]).every((row) => !row.connected);
    });
    // By the gateway's clock, whatever the device says.
    expect((await cli("nodes")).stdout).toMatch(/laptop .* away +\d+s/);
  },
  60_000,
);

test("500 devices that come at once are all there, and each is asked once", async () => {
  const count = proofSize(100, 500);
  const tokens = await pairMany(gateway(), count);
  const asked: string[] = [];
  const sockets: WebSocket[] = [];
  closers.push(async () => sockets.forEach((socket) => socket.terminate()));
  const url = `${rig.url.replace("http", "ws")}/nodes/ws`;
  const come = [...tokens].map(([nodeId, token], index) => {
    const socket = new WebSocket(url, { headers: { authorization: `Bearer ${token}` } });
    sockets[index] = socket;
    const send = (frame: object) => socket.send(JSON.stringify(frame));
    socket.on("open", () => send({ type: "connect", nodeId, boot: nodeId, connection: 0 }));
    return new Promise<void>((resolve, reject) => {
      socket.on("error", reject);
      socket.on("message", (data: Buffer) => {
        const frame = JSON.parse(data.toString()) as { event: string; payload: { id: string } };
        if (frame.event === "node.connected") resolve();
        if (frame.event !== "node.invoke.request") return;
        asked.push(nodeId);
        const payload = { id: frame.payload.id, nodeId, ok: true, payload: { me: nodeId } };
        send({ type: "event", event: "node.invoke.result", payload });
      });
    });
  });
  const began = performance.now();
  await Promise.all(come);
  const ms = performance.now() - began;
  const { nodes } = await client.request("argus/node/list");
  expect((nodes as { connected: boolean }[]).filter((row) => row.connected)).toHaveLength(count);
  const names = [...tokens.keys()];
  for (let from = 0; from < count; from += 50) {
    const batch = names.slice(from, from + 50).map(async (node) => {
      const answer = await client.request("argus/node/invoke", { node, command: "process.list" });
      expect(answer).toMatchObject({ ok: true, nodeId: node, payload: { me: node } });
    });
    await Promise.all(batch);
  }
  expect(asked.toSorted()).toEqual(names.toSorted());
  proved(`${count} devices connected at once in ${Math.round(ms)} ms`);
}, 120_000);
