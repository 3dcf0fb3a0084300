import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { afterEach, beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { CHANNEL } from "#protocol/channel.ts";
import { AdapterPeer } from "#test/support/adapter-peer.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";

let rig: GatewayRig;
let token: string;
const clients: Client[] = [];
beforeEach(async () => {
  rig = await GatewayRig.start();
  rig.putSession("a");
  rig.putSession("b");
  token = (await rig.putPod("a")).token;
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  await rig.stop();
});

async function connect(bearer = token): Promise<Client> {
  const client = new Client({ name: "test", version: "1" });
  const transport = new StreamableHTTPClientTransport(new URL(`${rig.url}/mcp`), {
    requestInit: { headers: { authorization: `Bearer ${bearer}` } },
  });
  await client.connect(transport);
  clients.push(client);
  return client;
}

/** One bare request; `session` = its MCP session. */
async function post(body: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(`${rig.url}/mcp`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      accept: "application/json",
      ...headers,
    },
    body: JSON.stringify(body),
  });
  return { response, text: await response.text() };
}

const INITIALIZE = {
  jsonrpc: "2.0",
  id: 1,
  method: "initialize",
  params: {
    protocolVersion: "2025-11-25",
    capabilities: {},
    clientInfo: { name: "t", version: "1" },
  },
};

test("the SDK's client lists the tools, each with a closed schema, and calls one for its own session", async () => {
  const client = await connect();
  const { tools } = await client.listTools();
  expect(tools.map(({ name }) => name)).toContain("session_status");
  for (const { name, inputSchema, title, description } of tools) {
    expect({ name, closed: inputSchema["additionalProperties"], title, description }).toEqual({
      name,
      closed: false,
      title: expect.any(String),
      description: expect.any(String),
    });
  }
  const result = await client.callTool({ name: "session_status", arguments: {} });
  expect(result.structuredContent).toMatchObject({ ok: true, sessionId: "a", ready: true });
  expect(JSON.parse((result.content as { text: string }[])[0]?.text ?? "")).toEqual(
    result.structuredContent,
  );
});

test("no argument reaches another session, and a wrong argument is named", async () => {
  const client = await connect();
  const wrong = await client.callTool({ name: "session_status", arguments: { sessionId: "b" } });
  expect(wrong.isError).toBe(true);
  expect(JSON.stringify(wrong.content)).toContain("sessionId");
  const unknown = await client.callTool({ name: "no_such_tool", arguments: {} });
  expect(unknown.isError).toBe(true);
});

test("the agent's own schedules: added, listed, changed and removed, of its session alone", async () => {
  const client = await connect();
  const cron = async (args: object) => {
    const called = { name: "cron", arguments: args as Record<string, unknown> };
    return (await client.callTool(called)).structuredContent as Record<string, unknown>;
  };
  const job = { jobId: "roses", expr: "0 7 * * *", text: "water the roses" };
  expect(await cron({ action: "add", ...job })).toMatchObject({ ok: true, sessionId: "a" });
  const listed = await cron({ action: "list" });
  expect(listed).toMatchObject({ jobs: [{ jobId: "roses", expr: "0 7 * * *" }] });
  const changed = { action: "update", jobId: "roses", enabled: false };
  expect(await cron(changed)).toMatchObject({ ok: true });
  expect(await cron({ action: "status" })).toMatchObject({ jobs: 1, enabledJobs: 0 });
  const foreign = await cron({ action: "list", sessionId: "b" });
  expect(foreign).toMatchObject({ ok: false, error: { code: "UNSUPPORTED" } });
  expect(await cron({ action: "remove", jobId: "roses" })).toMatchObject({ ok: true });
  expect(await cron({ action: "status" })).toMatchObject({ jobs: 0 });
});

test("a message goes to the chat that the session belongs to", async () => {
  const chat = await AdapterPeer.greet(rig.url, ADMIN);
  const person = { id: "ann", name: "Ann" };
  const who = { person, chatKey: "ann", isGroup: false, session: "a", allow: { owners: ["ann"] } };
  await chat.request(CHANNEL.admit, who, z.unknown());
  const client = await connect();
  const sent = await client.callTool({ name: "send_message", arguments: { text: "half done" } });
  expect(sent.structuredContent).toMatchObject({ ok: true, messageId: expect.any(String) });
  const status = await client.callTool({ name: "session_status", arguments: {} });
  expect(status.structuredContent).toMatchObject({ waitingReplies: 1, chat: { chatKey: "ann" } });
  chat.close();
});

test("a message of a session without a chat is refused in words", async () => {
  const client = await connect();
  const nobody = await client.callTool({ name: "send_message", arguments: { text: "hi" } });
  expect(nobody).toMatchObject({
    isError: true,
    structuredContent: { error: { code: "NOT_READY" } },
  });
});

test.each([
  ["no token", {}, 401],
  ["a wrong token", { authorization: "Bearer nobody" }, 401],
])("%s opens nothing", async (_, headers, status) => {
  const { response } = await post(INITIALIZE, { authorization: "", ...headers });
  expect(response.status).toBe(status);
});

test("a page of another origin is refused", async () => {
  const { response } = await post(INITIALIZE, { origin: "https://evil.example" });
  expect(response.status).toBe(403);
});

test("a client that takes JSON alone gets JSON; one that takes streams gets its calls as a stream", async () => {
  const first = await post(INITIALIZE);
  const id = first.response.headers.get("mcp-session-id") ?? "";
  expect(first.response.headers.get("content-type")).toContain("application/json");
  const call = {
    jsonrpc: "2.0",
    id: 2,
    method: "tools/call",
    params: { name: "session_status", arguments: {} },
  };
  const json = await post(call, { "mcp-session-id": id });
  expect(json.response.headers.get("content-type")).toContain("application/json");
  expect(JSON.parse(json.text)).toMatchObject({
    id: 2,
    result: { structuredContent: { sessionId: "a" } },
  });
  const accept = "application/json, text/event-stream";
  const stream = await post(call, { "mcp-session-id": id, accept });
  expect(stream.response.headers.get("content-type")).toContain("text/event-stream");
  expect(stream.text).toContain('"sessionId":"a"');
});

test("an MCP session outlives a restart of the gateway, ends by DELETE, and is nobody else's", async () => {
  const { response } = await post(INITIALIZE);
  const session = { "mcp-session-id": response.headers.get("mcp-session-id") ?? "" };
  const ping = { jsonrpc: "2.0", id: 3, method: "ping" };
  await rig.stopGateway();
  await rig.startGateway();
  expect((await post(ping, session)).response.status).toBe(200);
  const other = (await rig.putPod("b")).token;
  expect((await post(ping, { ...session, authorization: `Bearer ${other}` })).response.status).toBe(
    404,
  );
  const ended = await fetch(`${rig.url}/mcp`, {
    method: "DELETE",
    headers: { authorization: `Bearer ${token}`, ...session },
  });
  expect(ended.status).toBe(200);
  expect((await post(ping, session)).response.status).toBe(404);
  expect((await post(ping)).response.status).toBe(400);
  expect((await fetch(`${rig.url}/mcp`)).status).toBe(405);
});

test("the admin names the session in the query; an unknown one is not made", async () => {
  const ask = (query: string) =>
    fetch(`${rig.url}/mcp${query}`, {
      method: "POST",
      headers: { authorization: `Bearer ${ADMIN}`, "content-type": "application/json" },
      body: JSON.stringify(INITIALIZE),
    });
  expect((await ask("?session=b")).status).toBe(200);
  expect((await ask("?session=nobody")).status).toBe(404);
});
