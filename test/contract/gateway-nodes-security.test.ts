import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { z } from "zod";
import { connected, joined } from "#test/support/devices.ts";
import { eventually } from "#test/support/eventually.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";
import { NodeHostProcess } from "#test/support/node-host.ts";

let rig: GatewayRig;
let host: NodeHostProcess;
let own: NodeHostProcess;
let jobId: string;
const tokens: Record<string, string> = { wrong: "nobody", admin: ADMIN };
beforeAll(async () => {
  rig = await GatewayRig.start();
  for (const name of ["a", "b"]) {
    rig.putSession(name);
    tokens[`pod of ${name}`] = (await rig.putPod(name)).token;
    tokens[`client of ${name}`] = await clientToken(name);
  }
  host = await joined({ url: rig.url, token: ADMIN }, { nodeId: "laptop", session: "a" });
  const credentials = z.object({ token: z.string() });
  const kept = await readFile(join(host.folder, "credentials.json"), "utf8");
  tokens.device = credentials.parse(JSON.parse(kept)).token;
  // As a pod's own node-host does.
  own = await NodeHostProcess.make();
  own.run(nodesUrl(), "runtime:a", { ARGUS_NODE_TOKEN: tokens["pod of a"] ?? "" });
  await connected({ url: rig.url, token: ADMIN }, "runtime:a", "a");
  const run = { node: "laptop", command: "system.run" };
  const params = { argv: ["sleep", "987"], yieldMs: 0 };
  const { result } = await call(ADMIN, "argus/node/invoke", { ...run, params }, "a");
  jobId = (result as { payload: { jobId: string } }).payload.jobId;
});
afterAll(async () => {
  await own.remove();
  await host.remove();
  await rig.stop();
});

const nodesUrl = () => `${rig.url.replace("http", "ws")}/nodes/ws`;

async function clientToken(session: string): Promise<string> {
  const response = await fetch(`${rig.url}/tokens`, {
    method: "POST",
    headers: { authorization: `Bearer ${ADMIN}`, "content-type": "application/json" },
    body: JSON.stringify({ sessions: [session] }),
  });
  return ((await response.json()) as { token: string }).token;
}

const post = async (path: string, token: string | undefined, body: object, headers = {}) => {
  const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return await fetch(`${rig.url}${path}`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept: "application/json",
      ...authorization,
      ...headers,
    },
    body: JSON.stringify(body),
  });
};

async function call(token: string | undefined, method: string, params: object, session?: string) {
  const response = await post("/call", token, { method, params, session });
  const answer = (await response.json()) as { result?: object; detail?: string };
  return { status: response.status, ...answer };
}

const laptop = { node: "laptop" };
const METHODS: [method: string, params: () => object][] = [
  ["argus/node/list", () => ({})],
  ["argus/node/list", () => ({ all: true })],
  ["argus/node/pending", () => ({})],
  ...[
    "system.run",
    "system.which",
    "process.list",
    "process.get",
    "process.logs",
    "process.kill",
  ].map((command): [string, () => object] => [
    "argus/node/invoke",
    () => ({ ...laptop, command, params: { argv: ["true"], bin: "sh", jobId } }),
  ]),
  ...["process.write", "file.read", "file.write", "file.list"].map(
    (command): [string, () => object] => [
      "argus/node/invoke",
      () => ({ ...laptop, command, params: { jobId, path: host.folder, dataBase64: "" } }),
    ],
  ),
  ["argus/node/invoke", () => ({ node: "runtime:a", command: "process.list" })],
  ["argus/node/approve", () => ({ code: "ABCDEFGH" })],
  ["argus/node/refuse", () => ({ code: "ABCDEFGH" })],
  ["argus/node/revoke", () => laptop],
];

describe("a token that does not open session a reaches none of its nodes", () => {
  const strangers = [undefined, "wrong", "pod of b", "client of b", "device"];
  test.each(METHODS)("%s %s", async (method, params) => {
    for (const who of strangers) {
      const token = who === undefined ? undefined : tokens[who];
      for (const session of ["a", "b", undefined]) {
        const { status, ...answer } = await call(token, method, params(), session);
        const facts = `${who} in ${session}: ${status} ${JSON.stringify(answer)}`;
        if (status === 200) expect(answer, facts).toMatchObject({ result: { ok: true } });
        // Of what was asked for only its name comes back.
        expect(JSON.stringify(answer), facts).not.toMatch(
          /"nodeId"|There are: (?!none|runtime:b")/,
        );
        if (status === 200) expect(who, facts).toBe("client of b");
        else expect([400, 401, 403, 404], facts).toContain(status);
      }
    }
  });

  test("the tools of b's agent", async () => {
    const token = tokens["pod of b"];
    const initialize = {
      jsonrpc: "2.0",
      id: 1,
      method: "initialize",
      params: {
        protocolVersion: "2025-11-25",
        capabilities: {},
        clientInfo: { name: "t", version: "1" },
      },
    };
    const first = await post("/mcp", token, initialize);
    const header = { "mcp-session-id": first.headers.get("mcp-session-id") ?? "" };
    const use = async (name: string, args: object) => {
      const params = { name, arguments: args };
      const body = { jsonrpc: "2.0", id: 2, method: "tools/call", params };
      return JSON.stringify(await (await post("/mcp", token, body, header)).json());
    };
    expect(await use("nodes_list", {})).toContain('"nodes":[]');
    const own = { node: "self", command: "process.list", timeoutMs: 500 };
    expect(await use("node_invoke", own)).toContain("NOT_CONNECTED");
    for (const node of ["laptop", "LAPTOP", "runtime:a"]) {
      const calls = [
        use("node_invoke", { node, command: "process.list" }),
        use("job_list", { node }),
        use("job_output", { node, jobId }),
        use("job_write", { node, jobId, text: "x" }),
        use("job_kill", { node, jobId }),
      ];
      for (const answer of await Promise.all(calls)) expect(answer).toContain("NODE_NOT_FOUND");
    }
  });

  test("afterwards everything of a is as it was", async () => {
    const { result } = await call(ADMIN, "argus/node/list", {}, "a");
    expect(result).toMatchObject({ nodes: [{ nodeId: "laptop" }, { nodeId: "runtime:a" }] });
    const get = { ...laptop, command: "process.get", params: { jobId } };
    const { result: job } = await call(tokens["client of a"], "argus/node/invoke", get, "a");
    expect(job).toMatchObject({ payload: { job: { running: true } } });
  });
});

/** What a connection to /nodes/ws is told after this first frame. */
async function knock(token: string | undefined, frame: object): Promise<string> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const socket = new WebSocket(nodesUrl(), { headers });
  const told: string[] = [];
  socket.on("error", (error) => told.push(error.message));
  socket.on("message", (data: Buffer) => told.push(data.toString("utf8")));
  socket.on("open", () => socket.send(JSON.stringify(frame)));
  socket.on("close", (code, reason) => told.push(`${code} ${reason.toString()}`));
  const answer = await eventually("an answer", () => told[0]);
  socket.terminate();
  return answer;
}

describe("whoever is no node gets nothing at /nodes/ws", () => {
  const connect = (nodeId: string) => ({ type: "connect", nodeId });
  test.each([
    [undefined, "laptop"],
    ["wrong", "laptop"],
    ["admin", "laptop"],
    ["client of a", "laptop"],
    ["device", "phone"],
    ["device", "runtime:a"],
    ["pod of b", "runtime:a"],
    ["pod of a", "laptop"],
  ])("%s as %s", async (who, nodeId) => {
    const token = who === undefined ? undefined : tokens[who];
    expect(await knock(token, connect(nodeId))).toMatch(/^1008 (Unauthorized|This token is)/);
  });

  test("a device cannot take a session's name, prove a key that is not its own, or send much before it is known", async () => {
    const pair = { type: "pair.request", nodeId: "x", publicKey: "A".repeat(43) };
    expect(await knock(undefined, pair)).toContain("pair.challenge");
    expect(await knock(undefined, { ...pair, nodeId: "x".repeat(20_000) })).toMatch(/^1009/);
    expect(await knock(undefined, { ...pair, publicKey: "short" })).toMatch(/^1008/);
  });
});
