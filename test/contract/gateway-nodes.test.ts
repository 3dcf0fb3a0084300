import { cp } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { afterEach, beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { CHANNEL } from "#protocol/channel.ts";
import { type AskNotice, CHANNEL_ASK } from "#protocol/channel-asks.ts";
import type { ApprovalRow } from "#protocol/node-methods.ts";
import { AdapterPeer } from "#test/support/adapter-peer.ts";
import { argus } from "#test/support/argus-up.ts";
import { Cutter } from "#test/support/cutter.ts";
import { clientOf, connected, joined, pair } from "#test/support/devices.ts";
import { eventually } from "#test/support/eventually.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";
import { NodeHostProcess } from "#test/support/node-host.ts";

let rig: GatewayRig;
let agent: string;
const hosts: NodeHostProcess[] = [];
const closers: (() => Promise<void>)[] = [];
beforeEach(async () => {
  rig = await GatewayRig.start();
  rig.putSession("a");
  rig.putSession("b");
  agent = (await rig.putPod("a")).token;
});
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
  for (const host of hosts.splice(0)) await host.remove();
  await rig.stop();
});

const gateway = () => ({ url: rig.url, token: ADMIN });

async function device(nodeId = "laptop", policy?: object): Promise<NodeHostProcess> {
  const host = await joined(gateway(), { nodeId, session: "a", ...(policy ? { policy } : {}) });
  hosts.push(host);
  return host;
}

async function mcp(token = agent) {
  const client = new Client({ name: "test", version: "1" });
  const transport = new StreamableHTTPClientTransport(new URL(`${rig.url}/mcp`), {
    requestInit: { headers: { authorization: `Bearer ${token}` } },
  });
  await client.connect(transport);
  closers.push(() => client.close());
  return async (name: string, args: object = {}, options: object = {}) => {
    const call = { name, arguments: args as Record<string, unknown> };
    const { structuredContent } = await client.callTool(call, undefined, options);
    return structuredContent as Record<string, unknown>;
  };
}

async function person(session = "a") {
  const client = await clientOf(gateway(), session);
  closers.push(() => client.close());
  return client;
}

const sh = (script: string, more: object = {}) => ({
  node: "laptop",
  command: "system.run",
  params: { argv: ["sh", "-c", script], ...more },
});

test("an agent lists its session's devices, runs a command, follows and feeds a job", async () => {
  await device();
  const call = await mcp();
  expect(await call("nodes_list")).toMatchObject({
    nodes: [{ nodeId: "laptop", connected: true, platform: "linux" }],
  });
  expect(await call("node_invoke", sh("echo hi; exit 3"))).toMatchObject({
    ok: true,
    nodeId: "laptop",
    payload: { stdout: "hi\n", exitCode: 3 },
  });
  const started = await call("node_invoke", sh("echo one; cat", { stdin: true, yieldMs: 0 }));
  const { jobId } = started.payload as { jobId: string };
  const progress: unknown[] = [];
  const onprogress = ({ message }: { message?: string }) => progress.push(message);
  const first = await call("job_output", { node: "laptop", jobId, waitMs: 500 }, { onprogress });
  expect(first).toMatchObject({ stdout: "one\n", stdoutOffset: 4, running: true });
  expect(progress).toEqual(["one\n"]);
  await call("job_write", { node: "laptop", jobId, text: "two €\n", close: true });
  const rest = await call("job_output", { node: "laptop", jobId, stdoutOffset: 4, waitMs: 20_000 });
  expect(rest).toMatchObject({ stdout: "two €\n", running: false, exitCode: 0 });
  expect(await call("job_list", { node: "laptop" })).toMatchObject({ ok: true });
  const unknown = await call("node_invoke", { ...sh("true"), node: "phone" });
  expect(unknown).toMatchObject({ ok: false, error: { code: "NODE_NOT_FOUND" } });
});

test("a call that is canceled ends its program; one that is repeated by its key runs once", async () => {
  await device();
  const call = await mcp();
  const stop = new AbortController();
  const waits = call("node_invoke", sh("sleep 987", { yieldMs: 60_000 }), { signal: stop.signal });
  const client = await person();
  const jobs = async () => {
    const list = { node: "laptop", command: "process.list" };
    const { payload } = await client.request("argus/node/invoke", list);
    return (payload as { jobs: { running: boolean; pid: number | null }[] }).jobs;
  };
  await expect(
    Promise.all([
      waits,
      eventually("it runs", async () => (await jobs())[0]?.pid).then(() => stop.abort()),
    ]),
  ).rejects.toThrow();
  await eventually("it was ended", async () => (await jobs()).every(({ running }) => !running));
  const keyed = { ...sh("echo $$"), idempotencyKey: "once" };
  const [first, second] = [await call("node_invoke", keyed), await call("node_invoke", keyed)];
  expect(second).toEqual(first);
});

test("the end of a job in the background wakes its session once, also when the gateway was killed meanwhile", async () => {
  const host = await device();
  const call = await mcp();
  const { payload } = await call(
    "node_invoke",
    sh("read line; exit 4", { stdin: true, yieldMs: 0 }),
  );
  const { jobId } = payload as { jobId: string };
  const port = rig.gateway?.port ?? 0;
  await rig.stopGateway();
  await rig.startGateway({ port });
  await connected(gateway(), "laptop", "a");
  await (await mcp())("job_write", { node: "laptop", jobId, text: "x\n", close: true });
  const client = await person();
  const events = async () => {
    const { events: rows } = await client.request("argus/event/list");
    return (rows as { key: string; text: string }[]).filter(({ key }) => key.includes(jobId));
  };
  const [event] = await eventually("the event", async () => {
    const found = await events();
    return found.length > 0 && found;
  });
  expect(event?.text).toContain("exitCode=4");
  await host.kill();
  host.start(["run"]);
  await connected(gateway(), "laptop", "a");
  await client.request("argus/node/invoke", { node: "laptop", command: "process.list" });
  expect(await events()).toHaveLength(1);
});

test("what a device's policy asks about runs only after its owner's word, and not at all without one", async () => {
  await device("laptop", { default: "ask" });
  const call = await mcp();
  const client = await person();
  const asked = async (from: number) => {
    await client.request("argus/node/pending");
    return await client.notification("argus/node/approval", from);
  };
  const first = call("node_invoke", sh("echo yes"));
  const { params } = await asked(0);
  expect(params).toMatchObject({ nodeId: "laptop", summary: "sh -c echo yes" });
  await client.request("argus/node/approve", { code: String(params?.approvalId).slice(0, 8) });
  expect(await first).toMatchObject({ ok: true, payload: { stdout: "yes\n" } });
  const second = call("node_invoke", sh("echo no"));
  const { approvalId } = (await asked(client.received.length)).params ?? {};
  await client.request("argus/node/refuse", { code: approvalId });
  expect(await second).toMatchObject({ ok: false, error: { code: "DENIED" } });
  const third = await call("node_invoke", { ...sh("echo late"), timeoutMs: 300 });
  expect(third).toMatchObject({ ok: false, error: { code: "DENIED" } });
  expect(await client.request("argus/node/pending")).toMatchObject({ approvals: [] });
});

/** A client's token that names its person. */
async function tokenOf(name: string, session: string): Promise<string> {
  const answer = await fetch(`${rig.url}/tokens`, {
    method: "POST",
    headers: { authorization: `Bearer ${ADMIN}`, "content-type": "application/json" },
    body: JSON.stringify({ sessions: [session], person: name }),
  });
  return z.object({ token: z.string() }).parse(await answer.json()).token;
}

test("what a device asks is asked in the session's chat too, and what is decided elsewhere is said there", async () => {
  await device("laptop", { default: "ask" });
  const client = await person();
  const chat = await AdapterPeer.greet(rig.url, ADMIN, { asks: true });
  closers.push(async () => chat.close());
  const ann = { id: "ann", name: "Ann" };
  const allow = { owners: ["ann"] };
  const who = { person: ann, chatKey: "ann", isGroup: false, session: "a", allow };
  await chat.request(CHANNEL.admit, who, z.unknown());
  const asked = (detail: string, isOver = false) =>
    eventually(`asked about ${detail}`, () =>
      chat.notices
        .map(({ params }) => params as AskNotice)
        .find((ask) => ask.detail === detail && (ask.outcome !== "") === isOver),
    );
  const first = client.request("argus/node/invoke", sh("echo yes"));
  const { askId, question } = await asked("sh -c echo yes");
  expect(question).toMatch(/on laptop/);
  const press = { askId, chatKey: "ann", isGroup: false, person: ann, choice: 0, allow };
  await chat.request(CHANNEL_ASK.answer, press, z.unknown());
  expect(await first).toMatchObject({ ok: true, payload: { stdout: "yes\n" } });
  const second = client.request("argus/node/invoke", sh("echo no"));
  const shown = { askId: (await asked("sh -c echo no")).askId, state: "open", ref: "m2" };
  await chat.request(CHANNEL_ASK.shown, shown, z.unknown());
  const { approvals } = (await client.request("argus/node/pending")) as unknown as {
    approvals: ApprovalRow[];
  };
  const token = await tokenOf("Bea", "a");
  const about = `--session a --url ${rig.url} --token ${token}`.split(" ");
  const refusal = await argus(["approve", "--refuse", approvals[0]?.approvalId ?? "", ...about]);
  expect(refusal).toMatchObject({ code: 0 });
  expect(await second).toMatchObject({ ok: false, error: { code: "DENIED" } });
  expect((await asked("sh -c echo no", true)).outcome).toBe("☑️ Refused elsewhere: Bea");
  const third = await client.request("argus/node/invoke", { ...sh("echo late"), timeoutMs: 300 });
  expect(third).toMatchObject({ ok: false, error: { code: "DENIED" } });
});

test("a question is told once over cuts, waits for its device, and is withdrawn with its call or its device", async () => {
  const wire = await Cutter.start(rig.gateway?.port ?? 0, () => Number.POSITIVE_INFINITY);
  closers.push(() => wire.stop());
  const url = `http://127.0.0.1:${wire.port}`;
  const host = await NodeHostProcess.make({ default: "ask" });
  hosts.push(host);
  await pair(gateway(), host, { nodeId: "laptop", session: "a", url });
  host.start(["run"]);
  await connected(gateway(), "laptop", "a");
  const call = await mcp();
  const client = await person();
  const questions = async () =>
    (await client.request("argus/node/pending")).approvals as { approvalId: string }[];
  const stop = new AbortController();
  const withdrawn = call("node_invoke", sh("echo no"), { signal: stop.signal }).catch(() => "gone");
  const [first] = await eventually("a question", async () => {
    const found = await questions();
    return found.length === 1 && found;
  });
  wire.cut();
  await eventually("it is gone", async () => {
    const { nodes } = await client.request("argus/node/list");
    return (nodes as { connected: boolean }[]).every((row) => !row.connected);
  });
  await connected(gateway(), "laptop", "a");
  expect(await questions()).toEqual([first]);
  const told = client.received.filter(({ method }) => method === "argus/node/approval");
  expect(told).toHaveLength(1);
  stop.abort();
  expect(await withdrawn).toBe("gone");
  await eventually("the withdrawn question is gone", async () => (await questions()).length === 0);
  const pending = call("node_invoke", sh("echo again"));
  const [second] = await eventually("the next question", async () => {
    const found = await questions();
    return found.length === 1 && found;
  });
  await host.kill();
  host.start(["run"]);
  const [third] = await eventually("the device asks anew", async () => {
    const found = await questions();
    return found.length === 1 && found[0]?.approvalId !== second?.approvalId && found;
  });
  await client.request("argus/node/approve", { code: third?.approvalId });
  expect(await pending).toMatchObject({ ok: true, payload: { stdout: "again\n" } });
});

test("a revoked device is cut off within a second, and its token opens nothing", async () => {
  const host = await device();
  const client = await person();
  const waits = client.ask("argus/node/invoke", sh("sleep 987", { yieldMs: 60_000 }));
  await client.request("argus/node/invoke", { node: "laptop", command: "process.list" });
  const started = Date.now();
  await client.request("argus/node/revoke", { node: "laptop" });
  expect((await waits).result).toMatchObject({ ok: false, error: { code: "OUTCOME_UNKNOWN" } });
  await eventually("it notices", () => host.stderr.includes("Revoked"), 1000);
  expect(Date.now() - started).toBeLessThan(1000);
  expect(await client.request("argus/node/list")).toMatchObject({ nodes: [] });
  await eventually("it is refused", () => host.stderr.includes("Unauthorized"), 10_000);
});

test("a second device cannot take a paired one's name; a copy of its state replaces it", async () => {
  const first = await device();
  const other = await NodeHostProcess.make();
  hosts.push(other);
  await expect(pair(gateway(), other, { nodeId: "laptop", session: "b" })).rejects.toThrow(
    "Another device is paired as laptop",
  );
  await other.kill();
  await cp(join(first.folder, "credentials.json"), join(other.folder, "credentials.json"));
  other.start(["run"]);
  await eventually("the first one gives way", () => first.stderr.includes("another device"));
  expect(await (await mcp())("node_invoke", sh("echo $HOME"))).toMatchObject({
    payload: { stdout: `${other.folder}\n` },
  });
});
