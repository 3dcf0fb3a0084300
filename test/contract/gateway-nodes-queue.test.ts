import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { afterEach, beforeEach, expect, test } from "vitest";
import type { NodeAnswer } from "#protocol/node-methods.ts";
import { MAX_QUEUED_PER_NODE, type QueuedRow } from "#protocol/queued-call.ts";
import { argus } from "#test/support/argus-up.ts";
import { clientOf, connected, joined, pair } from "#test/support/devices.ts";
import { eventually } from "#test/support/eventually.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";
import { NodeHostProcess } from "#test/support/node-host.ts";

let rig: GatewayRig;
const hosts: NodeHostProcess[] = [];
const closers: (() => Promise<void>)[] = [];
beforeEach(async () => {
  rig = await GatewayRig.start();
  rig.putSession("main");
});
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
  for (const host of hosts.splice(0)) await host.remove();
  await rig.stop();
});

const gateway = () => ({ url: rig.url, token: ADMIN });
const cli = (first: string, ...words: string[]) =>
  argus([first, "--url", rig.url, "--token", ADMIN, ...words]);

/** A device that is known and away. */
async function away(policy?: object): Promise<NodeHostProcess> {
  const host = await NodeHostProcess.make(policy ?? { default: "allow" });
  hosts.push(host);
  await pair(gateway(), host, { nodeId: "laptop", session: "main" });
  return host;
}

async function person() {
  const client = await clientOf(gateway(), "main");
  closers.push(() => client.close());
  return client;
}

async function request<T>(method: string, params: object = {}): Promise<T> {
  const client = await clientOf(gateway(), "main");
  try {
    return (await client.request(method, params)) as T;
  } finally {
    await client.close();
  }
}

const queue = (script: string, more: object = {}) =>
  request<NodeAnswer & { payload: QueuedRow & { queued: true } }>("argus/node/invoke", {
    node: "laptop",
    command: "system.run",
    params: { argv: ["sh", "-c", script] },
    queueForMs: 60_000,
    ...more,
  });
const rows = async () => (await request<{ calls: QueuedRow[] }>("argus/node/queue/list")).calls;
const stateOf = async (callId: string) => (await rows()).find((row) => row.callId === callId);
const events = async () =>
  (await request<{ events: { key: string; text: string }[] }>("argus/event/list")).events;
const log = (host: NodeHostProcess) => readFile(join(host.folder, "log"), "utf8").catch(() => "");
const append = (host: NodeHostProcess, word: string) => `echo ${word} >> ${host.folder}/log`;

test("calls for a device that is away run in order when it is back, once, and their ends wake the session", async () => {
  const host = await away();
  const words = Array.from({ length: 8 }, (_, index) => `w${index}`);
  for (const word of words) {
    const { ok, payload } = await queue(`${append(host, word)}; echo said ${word}`);
    expect({ ok, payload }).toMatchObject({ ok: true, payload: { queued: true, state: "queued" } });
  }
  host.start(["run"]);
  await eventually("all have ended", async () =>
    (await rows()).every(({ state }) => state === "done"),
  );
  expect(await log(host)).toBe(`${words.join("\n")}\n`);
  const told = await events();
  expect(told).toHaveLength(8);
  for (const word of words)
    expect(told.filter(({ text }) => text.includes(`stdout (tail):\nsaid ${word}`))).toHaveLength(
      1,
    );
}, 40_000);

test("without a queue a device that is away is an error, and one that is there answers at once", async () => {
  const host = await away();
  const { error } = await queue("true", { queueForMs: undefined, timeoutMs: 1000 });
  expect(error?.code).toBe("NOT_CONNECTED");
  host.start(["run"]);
  await connected(gateway(), "laptop", "main");
  expect(await queue("echo now")).toMatchObject({ payload: { stdout: "now\n" } });
  expect(await rows()).toEqual([]);
}, 30_000);

test("a call that waits too long is told as expired and never runs", async () => {
  const host = await away();
  const { payload } = await queue(append(host, "late"), { queueForMs: 1000 });
  await eventually(
    "it has expired",
    async () => (await stateOf(payload.callId))?.state === "expired",
  );
  const [event] = await events();
  expect(event?.text).toMatch(/did not run: it waited too long.*echo late/s);
  expect((await cli("jobs")).stdout).toMatch(/laptop .* expired .*echo late/);
  host.start(["run"]);
  await connected(gateway(), "laptop", "main");
  expect(await queue("echo after")).toMatchObject({ payload: { stdout: "after\n" } });
  expect(await log(host)).toBe("");
}, 30_000);

test("argus run --queue says that it waits; argus jobs shows it, argus jobs kill takes it back", async () => {
  const host = await away();
  const queued = await cli("run", "--queue", "laptop", "--", "sh", "-c", append(host, "cli"));
  expect(queued).toMatchObject({ code: 0, stderr: "" });
  const id = /queued as (\w{32}) for 24h/.exec(queued.stdout)?.[1] ?? "";
  expect((await cli("jobs")).stdout).toMatch(new RegExp(`laptop +${id} +queued, 24h left`));
  expect(JSON.parse((await cli("jobs", "laptop", "--json")).stdout)).toMatchObject([
    { node: "laptop", jobId: id, state: "queued", running: false },
  ]);
  expect(
    await argus(["jobs", "kill", "laptop", id, "--url", rig.url, "--token", ADMIN]),
  ).toMatchObject({ code: 0 });
  expect(await stateOf(id)).toMatchObject({ state: "cancelled" });
  const kept = await cli("run", "--queue=2m", "laptop", "--", "sh", "-c", append(host, "kept"));
  expect(kept.stdout).toContain("for 2m");
  expect((await cli("run", "--queue=soon", "laptop", "--", "true")).stderr).toContain(
    "such as 90s",
  );
  host.start(["run"]);
  await eventually("the other ran", async () => (await log(host)) === "kept\n");
}, 60_000);

test("an agent queues by MCP, sees it in its jobs and cancels it", async () => {
  await away();
  const { token } = await rig.putPod("main");
  const client = new Client({ name: "test", version: "1" });
  const requestInit = { headers: { authorization: `Bearer ${token}` } };
  await client.connect(
    new StreamableHTTPClientTransport(new URL(`${rig.url}/mcp`), { requestInit }),
  );
  closers.push(() => client.close());
  const call = async (name: string, args: Record<string, unknown>) =>
    (await client.callTool({ name, arguments: args })).structuredContent as Record<string, unknown>;
  const invoke = { node: "laptop", command: "system.run", params: { argv: ["true"] } };
  const wanted = { ...invoke, queueForMs: 60_000, idempotencyKey: "k" };
  const first = await call("node_invoke", wanted);
  expect(first).toMatchObject({ ok: true, payload: { queued: true, state: "queued" } });
  expect(await call("node_invoke", wanted)).toEqual(first);
  const { callId } = first["payload"] as QueuedRow;
  expect(await call("job_list", { node: "laptop" })).toMatchObject({ queued: [{ callId }] });
  expect(await call("job_kill", { node: "laptop", jobId: callId })).toMatchObject({ ok: true });
  expect(await rows()).toMatchObject([{ callId, state: "cancelled" }]);
}, 60_000);

test("the queue is bounded: what has no place is refused and does not run", async () => {
  const host = await away();
  for (let index = 0; index < MAX_QUEUED_PER_NODE; index++) await queue(append(host, "x"));
  await expect(queue(append(host, "y"))).rejects.toThrow(/this one was not taken/);
  await expect(queue("true", { params: { argv: ["x".repeat(70_000)] } })).rejects.toThrow(/bytes/);
  host.start(["run"]);
  const all = "x\n".repeat(MAX_QUEUED_PER_NODE);
  await eventually("all ran", async () => (await log(host)) === all, 60_000);
}, 90_000);

test("a revoked device and a deleted session end what waits, with a word", async () => {
  const host = await away();
  const { payload } = await queue(append(host, "never"));
  await request("argus/node/revoke", { node: "laptop" });
  await eventually("revoked", async () => (await stateOf(payload.callId))?.state === "revoked");
  expect((await events())[0]?.text).toContain("may not be used by this session any more");
  expect(await log(host)).toBe("");
}, 30_000);

test("what is queued outlives a restart of the gateway, whose answer to a repeat is the same", async () => {
  const host = await away();
  const { payload } = await queue(append(host, "kept"), { callId: "mine" });
  const port = rig.gateway?.port ?? 0;
  await rig.stopGateway();
  await rig.startGateway({ port });
  const again = await queue(append(host, "kept"), { callId: "mine" });
  expect(again.payload.callId).toBe(payload.callId);
  host.start(["run"]);
  await eventually("it ran", async () => (await stateOf(payload.callId))?.state === "done");
  expect(await log(host)).toBe("kept\n");
  // Also a repeat after the end runs nothing.
  expect(await queue(append(host, "kept"), { callId: "mine" })).toMatchObject({ ok: true });
  expect(await log(host)).toBe("kept\n");
}, 40_000);

test("a program that runs on is told of once, also when the device refuses or cannot start the next one", async () => {
  const rules = [{ effect: "deny", argv: ["rm"] }];
  const host = await away({ default: "allow", rules });
  const params = (...argv: string[]) => ({ params: { argv } });
  const refused = await queue("", params("rm", "-rf", "x"));
  const missing = await queue("", params("/no/such/program"));
  const which = await queue("", { command: "system.which", params: { bin: "sh" } });
  const long = await queue("sleep 11; echo slept");
  const client = await person();
  host.start(["run"]);
  await eventually(
    "the long one runs",
    async () => (await rows()).every((row) => row.endedAtMs),
    30_000,
  );
  expect(await stateOf(refused.payload.callId)).toMatchObject({ state: "failed" });
  expect(await stateOf(missing.payload.callId)).toMatchObject({ state: "failed" });
  expect(await stateOf(which.payload.callId)).toMatchObject({ state: "done", reason: "" });
  const { jobId, state } = (await stateOf(long.payload.callId)) ?? {};
  expect(state).toBe("started");
  await eventually("its end is told", async () => (await events()).length === 4, 20_000);
  const told = (await events()).find(({ key }) => key.includes(jobId ?? "?"));
  expect(told?.text).toContain("slept");
  await client.close();
}, 60_000);

test("a device that asks its owner is asked through the queue, too", async () => {
  const host = await away({ default: "ask" });
  const { payload } = await queue(append(host, "asked"));
  host.start(["run"]);
  const code = await eventually("the question", async () => {
    const { approvals } = await request<{ approvals: { approvalId: string }[] }>(
      "argus/node/pending",
    );
    return approvals[0]?.approvalId;
  });
  expect(await stateOf(payload.callId)).toMatchObject({ state: "sent" });
  await request("argus/node/approve", { code });
  await eventually("it ran", async () => (await log(host)) === "asked\n");
}, 30_000);

test("a device that is there and one that joins later keep to their own sessions", async () => {
  hosts.push(await joined(gateway(), { nodeId: "server", session: "main" }));
  rig.putSession("other");
  const other = await clientOf(gateway(), "other");
  closers.push(() => other.close());
  const call = { node: "server", command: "system.run", params: { argv: ["true"] } };
  const foreign = { ...call, queueForMs: 60_000 };
  await expect(other.request("argus/node/invoke", foreign)).rejects.toThrow(/has no node/);
  const { calls } = await other.request("argus/node/queue/list");
  expect(calls).toEqual([]);
}, 30_000);
