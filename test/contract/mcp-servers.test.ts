import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { afterEach, beforeEach, expect, test } from "vitest";
import { secrets } from "#cluster/resources.ts";
import { headersOf } from "#gateway/mcp/server-headers.ts";
import { ADMIN, GatewayRig, NAMESPACE } from "#test/support/gateway.ts";
import { type McpServerProcess, startMcpServer } from "#test/support/mcp-server.ts";

let rig: GatewayRig;
let tickets: McpServerProcess;
const closers: (() => Promise<void>)[] = [];
beforeEach(async () => {
  rig = await GatewayRig.start();
  tickets = await startMcpServer({ key: "s3cret" });
});
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
  await rig.stop();
  await tickets.close();
});

const headersFrom = { secretKeyRef: { name: "tickets", key: "headers" } };
function putSecret(text: string): void {
  rig.kube.put(secrets, {
    metadata: { name: "tickets", namespace: NAMESPACE },
    data: { headers: Buffer.from(text).toString("base64") },
  } as never);
}

async function agentOf(session: string, path = "tickets") {
  const { token } = await rig.putPod(session);
  const client = new Client({ name: "test", version: "1" });
  const url = new URL(`${rig.url}/mcp/servers/${path}`);
  const requestInit = { headers: { authorization: `Bearer ${token}` } };
  closers.push(() => client.close());
  await client.connect(new StreamableHTTPClientTransport(url, { requestInit }));
  return client;
}

test("an agent uses its session's own server with headers that it never has; other sessions have none", async () => {
  putSecret("X-Key: s3cret\n\nX-Team: blue\n");
  const mcpServers = [{ name: "tickets", url: tickets.url, headersFrom }];
  rig.putSession("a", { spec: { mcpServers } });
  rig.putSession("b");
  const client = await agentOf("a");
  const { tools } = await client.listTools();
  expect(tools.map(({ name }) => name)).toEqual(["lookup"]);
  const answer = await client.callTool({ name: "lookup", arguments: { id: 7 } });
  expect(answer).toMatchObject({ content: [{ type: "text", text: "ticket 7 is open" }] });
  for (const seen of tickets.requests) {
    expect(seen).toMatchObject({ "x-key": "s3cret", "x-team": "blue" });
    // The pod's token is for the gateway alone.
    expect(seen.authorization).toBeUndefined();
  }
  await expect(agentOf("b")).rejects.toThrow(/Session b has no MCP server tickets/);
  await expect(agentOf("a", "other")).rejects.toThrow(/no MCP server other/);
  const admin = { method: "POST", headers: { authorization: `Bearer ${ADMIN}` }, body: "{}" };
  expect((await fetch(`${rig.url}/mcp/servers/tickets`, admin)).status).toBe(401);
  expect((await fetch(`${rig.url}/mcp/servers/tickets`, { method: "POST" })).status).toBe(401);
});

test("without its Secret, with a redirect, and without the server, the agent reads what is wrong, never a header", async () => {
  rig.putSession("a", {
    spec: { mcpServers: [{ name: "tickets", url: tickets.url, headersFrom }] },
  });
  await expect(agentOf("a")).rejects.toThrow(/cannot read this server's headers/);
  const keys: IncomingHttpHeaders[] = [];
  const thief = createServer((request, response) => {
    keys.push(request.headers);
    response.writeHead(307, { location: `${tickets.url}?stolen` }).end();
  });
  await new Promise<void>((resolve) => thief.listen(0, "127.0.0.1", resolve));
  closers.push(async () => void thief.close());
  const url = `http://127.0.0.1:${(thief.address() as AddressInfo).port}/`;
  rig.putSession("c", { spec: { mcpServers: [{ name: "tickets", url }] } });
  await expect(agentOf("c")).rejects.toThrow(/redirect/);
  expect(keys).toHaveLength(1);
  expect(tickets.requests).toEqual([]);
  const away = [{ name: "tickets", url: "http://127.0.0.1:9/mcp" }];
  rig.putSession("d", { spec: { mcpServers: away } });
  await expect(agentOf("d")).rejects.toThrow(/not reachable/);
});

test("a call over the bound is refused before its server hears of it; an agent that leaves ends the call", async () => {
  const left = Promise.withResolvers<void>();
  let heard = 0;
  const slow = createServer((_request, response) => {
    heard += 1;
    response.once("close", () => left.resolve());
    response.writeHead(200, { "content-type": "text/event-stream" }).write("data: 1\n\n");
  });
  await new Promise<void>((resolve) => slow.listen(0, "127.0.0.1", resolve));
  closers.push(async () => void slow.close());
  const url = `http://127.0.0.1:${(slow.address() as AddressInfo).port}/`;
  rig.putSession("a", { spec: { mcpServers: [{ name: "slow", url }] } });
  const { token } = await rig.putPod("a");
  const call = (body: string, signal?: AbortSignal) =>
    fetch(`${rig.url}/mcp/servers/slow`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body,
      ...(signal ? { signal } : {}),
    });
  const large = await call("x".repeat(16 * 1024 * 1024 + 1)).catch(() => undefined);
  // The answer may come before the body has left; what counts is that nobody else saw it.
  if (large) expect(large.status).toBe(413);
  expect(heard).toBe(0);
  const leaves = new AbortController();
  expect((await call("{}", leaves.signal)).status).toBe(200);
  leaves.abort();
  await left.promise;
});

test("headers are lines of a name and a value; an error does not tell the value", () => {
  expect(headersOf("Authorization: Bearer x:y\nX-A:1")).toEqual({
    authorization: "Bearer x:y",
    "x-a": "1",
  });
  expect(() => headersOf("s3cret")).toThrow(/^line 1 is not/);
  expect(() => headersOf("X: a\u0007b")).toThrow(/^line 1 is not/);
});
