import { once } from "node:events";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { WebSocket } from "ws";
import type { FakePeer } from "#test/fakes/bridge.ts";
import { eventually } from "#test/support/eventually.ts";
import { ADMIN, GatewayRig, podToken } from "#test/support/gateway.ts";

let rig: GatewayRig;
beforeEach(async () => {
  rig = await GatewayRig.start();
});
afterEach(() => rig.stop());

interface Frame {
  method?: string;
  id?: unknown;
  params?: Record<string, unknown>;
  error?: { code: number; message: string };
}

/** A client that keeps what it gets. */
class Client {
  readonly frames: Frame[] = [];
  closed: { code: number; reason: string } | undefined;
  readonly socket: WebSocket;

  constructor(
    query: string,
    options: { headers?: Record<string, string>; protocols?: string[] } = {},
  ) {
    const url = `${rig.url.replace("http", "ws")}/ws${query}`;
    this.socket = new WebSocket(url, options.protocols ?? [], { headers: options.headers ?? {} });
    this.socket.on("message", (data: Buffer) => this.frames.push(JSON.parse(data.toString())));
    this.socket.on("close", (code, reason) => {
      this.closed = { code, reason: reason.toString() };
    });
    this.socket.on("error", () => {});
  }

  frame(what: string, match: (frame: Frame) => boolean): Promise<Frame> {
    return eventually(what, () => this.frames.find(match), 10_000);
  }

  closing(): Promise<{ code: number; reason: string }> {
    return eventually("the close", () => this.closed, 10_000);
  }
}

const asAdmin = { headers: { authorization: `Bearer ${ADMIN}` } };
const http = (path: string, init: RequestInit = {}) => fetch(rig.url + path, init);
const post = (path: string, body: unknown, token = ADMIN) =>
  http(path, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
async function clientToken(sessions: string[], ttlSeconds?: number): Promise<string> {
  const answer = await post("/tokens", { sessions, ...(ttlSeconds ? { ttlSeconds } : {}) });
  expect(answer.status).toBe(200);
  return ((await answer.json()) as { token: string }).token;
}

test("an admin token is demanded", async () => {
  await expect(GatewayRig.start({ adminToken: "" })).rejects.toMatchObject({
    code: "InvalidInput",
  });
});

test("plain routes answer in the seed's shapes", async () => {
  rig.putSession("b", { status: { podName: "pod-b", conditions: [] } });
  await eventually("the session", async () => {
    const answer = await http("/sessions", asAdmin);
    const { sessions } = (await answer.json()) as { sessions: { sessionId: string }[] };
    return sessions.some(({ sessionId }) => sessionId === "b");
  });
  expect(await (await http("/healthz")).json()).toEqual({ ok: true });
  expect(await (await http("/readyz")).json()).toEqual({ ok: true, waiting: [] });
  expect(await (await http("/robots.txt")).text()).toContain("Disallow: /");
  for (const path of ["/sessions", "/sessions?token=wrong"]) {
    const refused = await http(path);
    expect([refused.status, await refused.json()]).toEqual([401, { detail: "Unauthorized" }]);
  }
  expect((await http(`/sessions?token=${ADMIN}`)).status).toBe(200);
  const missing = await http("/sessions/nobody", { method: "DELETE", ...asAdmin });
  expect([missing.status, await missing.json()]).toEqual([404, { detail: "Session not found" }]);
  const gone = await http("/sessions/b", { method: "DELETE", ...asAdmin });
  expect(await gone.json()).toEqual({ ok: true, sessionId: "b" });
  expect(rig.session("b")).toBeUndefined();
  const cors = await http("/healthz", { headers: { origin: "https://evil.example" } });
  expect(cors.headers.get("access-control-allow-origin")).toBeNull();
  expect((await http("/nowhere")).status).toBe(404);
});

test.each<[string, string, object, string]>([
  ["no token", "", {}, "Unauthorized"],
  ["a wrong token", "?token=wrong", {}, "Unauthorized"],
  ["a wrong header", "", { headers: { authorization: "Bearer wrong" } }, "Unauthorized"],
  ["an unknown session", `?session=nobody&token=${ADMIN}`, {}, "Unknown session"],
  ["an impossible name", `?session=..%2Fx&token=${ADMIN}`, {}, "Unknown session"],
])("%s is accepted and closed with its own reason", async (_, query, options, reason) => {
  const client = new Client(query, options);
  expect(await client.closing()).toEqual({ code: 1008, reason });
});

test.each<
  [
    string,
    (token: string) => { query: string; protocols?: string[]; headers?: Record<string, string> },
  ]
>([
  ["query", (token) => ({ query: `?token=${token}` })],
  ["header", (token) => ({ query: "", headers: { authorization: `Bearer ${token}` } })],
  ["bare header", (token) => ({ query: "", headers: { authorization: token } })],
  ["sub-protocol", (token) => ({ query: "", protocols: [`argus.token.${token}`] })],
  ["bearer sub-protocol", (token) => ({ query: "", protocols: ["bearer", token] })],
])("a token comes as %s; main is made on first use", async (_, how) => {
  const { query, ...options } = how(ADMIN);
  const client = new Client(query, options);
  const first = await client.frame("first frame", () => true);
  expect(first).toEqual({
    method: "argus/session",
    params: {
      id: "main",
      mode: "kubernetes",
      attached: false,
      created: true,
      boot: null,
      seq: null,
    },
  });
  expect(rig.session("main")?.metadata.labels).toMatchObject({ "argus.dev/created-by": "gateway" });
  client.socket.close();
  expect((await client.closing()).code).toBe(1000);
});

test("new makes a session of 12 hex digits", async () => {
  const client = new Client(`?session=new&token=${ADMIN}`);
  const first = await client.frame("first frame", () => true);
  expect(first.params).toMatchObject({ attached: false, created: true });
  expect(first.params?.["id"]).toMatch(/^[0-9a-f]{12}$/);
  client.socket.close();
});

test("a client token opens its sessions and no other, and dies with tokenGeneration", async () => {
  rig.putSession("a");
  rig.putSession("b");
  await eventually("both", async () => {
    const { sessions } = (await (await http("/sessions", asAdmin)).json()) as {
      sessions: unknown[];
    };
    return sessions.length === 2;
  });
  const token = await clientToken(["a"]);
  const client = new Client(`?token=${token}`);
  expect((await client.frame("first", () => true)).params).toMatchObject({
    id: "a",
    attached: false,
  });
  for (const session of ["b", "new", "nobody"]) {
    const other = new Client(`?session=${session}&token=${token}`);
    expect(await other.closing()).toEqual({ code: 1008, reason: "Forbidden" });
  }
  expect((await post("/tokens", { sessions: ["a"] }, token)).status).toBe(403);
  rig.putSession("a", { spec: { tokenGeneration: 1 } });
  expect(await client.closing()).toMatchObject({
    code: 1008,
    reason: expect.stringContaining("revoked"),
  });
  expect(await new Client(`?token=${token}`).closing()).toEqual({
    code: 1008,
    reason: "Unauthorized",
  });
});

test("an expired token closes what it opened", async () => {
  rig.putSession("a");
  await eventually(
    "the session",
    async () => (await post("/tokens", { sessions: ["a"] })).status === 200,
  );
  const client = new Client(`?token=${await clientToken(["a"], 1)}`);
  expect(await client.closing()).toMatchObject({
    code: 1008,
    reason: expect.stringContaining("expired"),
  });
});

test("a bad token request names its field", async () => {
  const answer = await post("/tokens", { sessions: [], ttlSeconds: -1 });
  expect(answer.status).toBe(400);
  expect(await answer.json()).toEqual({ detail: expect.stringMatching(/sessions/) });
  expect((await post("/tokens", { sessions: ["nobody"] })).status).toBe(404);
});

test("a ready session is joined at once: boot and seq in the first frame, then lines both ways", async () => {
  rig.putSession("s");
  const { bridge, podUid } = await rig.putPod("s", ({ socket }) => {
    socket.write('{"method":"first","argusSeq":42}\n');
    socket.pipe(socket);
  });
  await eventually("the pod", async () => {
    const client = new Client(`?session=s&token=${ADMIN}`);
    const first = await client.frame("first", () => true);
    client.socket.close();
    return first.params?.["boot"] === "b1";
  });
  const client = new Client(`?session=s&boot=b1&after=7&token=${ADMIN}`);
  await client.frame("the bridge's line", ({ method }) => method === "first");
  expect(client.frames[0]?.params).toEqual({
    id: "s",
    mode: "kubernetes",
    attached: true,
    created: false,
    boot: "b1",
    seq: 41,
    echo: true,
    defaults: { cwd: "/w", approvalPolicy: "never", sandbox: "workspace-write" },
    warning: "no sandbox here",
  });
  expect(bridge.peers.at(-1)?.hello).toMatchObject({ role: "client", boot: "b1", after: 7 });
  const claims = bridge.claims.at(-1);
  expect(claims).toMatchObject({ aud: podUid, epoch: 1 });
  expect((claims?.exp ?? 0) - (claims?.iat ?? 0)).toBeLessThanOrEqual(60);
  client.socket.send('{"id":1,\n"method":"echo","params":{"t":"é🎉"}}');
  expect(await client.frame("the echo", ({ id }) => id === 1)).toEqual({
    id: 1,
    method: "echo",
    params: { t: "é🎉" },
  });
  client.socket.send('{"id":2,"method":"argus/unknown"}');
  expect((await client.frame("the refusal", ({ id }) => id === 2)).error).toEqual({
    code: -32601,
    message: "Method not found: argus/unknown",
  });
  client.socket.send("garbage");
  expect((await client.frame("parse error", ({ id }) => id === null)).error?.code).toBe(-32700);
  client.socket.send(Buffer.from("{}"), { binary: true });
  expect((await client.closing()).code).toBe(1003);
});

test("lines sent while the session starts wait for the bridge; status tells the story", async () => {
  rig.putSession("s", {
    status: {
      conditions: [
        { type: "Ready", status: "False", reason: "PodPending", message: "no node yet" },
      ],
    },
  });
  const client = new Client(`?session=s&token=${ADMIN}`);
  client.socket.on("open", () => client.socket.send('{"id":1,"method":"early"}'));
  expect(
    (await client.frame("status", ({ method }) => method === "argus/status")).params,
  ).toMatchObject({
    id: "s",
    state: "starting",
    message: "Waiting: PodPending: no node yet",
    boot: null,
  });
  await rig.putPod("s", ({ socket }) => socket.pipe(socket));
  await client.frame("the echo", ({ id }) => id === 1);
  const methods = client.frames.map(({ method, params }) =>
    [method, params?.["state"]].filter(Boolean).join(" "),
  );
  expect(methods).toEqual([
    "argus/session",
    "argus/status starting",
    "argus/status ready",
    "early",
  ]);
  expect(client.frames[2]?.params).toMatchObject({
    boot: "b1",
    seq: 41,
    warning: "no sandbox here",
  });
  client.socket.close();
});

test("a refused hello is explained: clocks, keys, a newer gateway", async () => {
  rig.putSession("s");
  let reason = "time";
  await rig.putPod(
    "s",
    () => {},
    () => (reason === "" ? undefined : { reason, now: Date.now() + 90_000 }),
  );
  const client = new Client(`?session=s&token=${ADMIN}`);
  const words = (text: RegExp) =>
    client.frame(String(text), ({ params }) => text.test(String(params?.["message"])));
  await words(/clocks .* differ by 90 s/);
  reason = "signature";
  await words(/does not know the gateway's key yet/);
  reason = "epoch";
  expect(await client.closing()).toMatchObject({ code: 1013 });
});

test("whoever answers at the pod's address must hold that pod's token", async () => {
  rig.putSession("s");
  const { token } = await rig.putPod("s", ({ socket }) => socket.pipe(socket));
  rig.kube.tokens.set(token, {
    podUid: "another-pod",
    user: "system:serviceaccount:default:argus-session",
  });
  const client = new Client(`?session=s&token=${ADMIN}`);
  client.socket.on("open", () => client.socket.send('{"id":1,"method":"secret"}'));
  await client.frame("the reason", ({ params }) =>
    /Something else/.test(String(params?.["message"])),
  );
  expect(client.frames.some(({ id }) => id === 1)).toBe(false);
  client.socket.close();
});

test("a lost bridge closes with 1012, a stopping gateway with 1001, and epochs only grow", async () => {
  rig.putSession("s");
  const peers: FakePeer[] = [];
  const { bridge } = await rig.putPod("s", (peer) => peers.push(peer));
  const client = new Client(`?session=s&token=${ADMIN}`);
  const peer = await eventually("the peer", () => peers[0]);
  peer.socket.end();
  expect(await client.closing()).toEqual({
    code: 1012,
    reason: "Bridge connection lost: reconnect with session, boot and after",
  });
  const waiting = new Client(`?session=s&token=${ADMIN}`);
  await waiting.frame("first", () => true);
  await rig.stopGateway();
  expect((await waiting.closing()).code).toBe(1001);
  await rig.startGateway();
  const back = new Client(`?session=s&token=${ADMIN}`);
  await back.frame("first", () => true);
  await eventually("the second epoch", () => bridge.claims.at(-1)?.epoch === 2);
  await rig.deletePod("s");
  expect((await back.closing()).code).toBe(1012);
});

test("a deleted session closes its clients", async () => {
  rig.putSession("s");
  const client = new Client(`?session=s&token=${ADMIN}`);
  await client.frame("first", () => true);
  // The cache must have seen the session before it can miss it.
  await client.frame("status", ({ method }) => method === "argus/status");
  await eventually(
    "the cache",
    async () => (await post("/tokens", { sessions: ["s"] })).status === 200,
  );
  await rig.deleteSession("s");
  expect(await client.closing()).toMatchObject({
    code: 1008,
    reason: expect.stringMatching(/Unknown session/),
  });
});

test("only session pods (and the admin) reach the model proxy, and it says when nothing is configured", async () => {
  rig.putSession("s");
  const { token } = await rig.putPod("s");
  const ask = (bearer?: string) =>
    http("/openai/v1/responses", {
      method: "POST",
      headers: bearer ? { authorization: `Bearer ${bearer}` } : {},
      body: "{}",
    });
  expect((await ask()).status).toBe(401);
  expect((await ask("wrong")).status).toBe(401);
  expect((await ask(podToken("stranger"))).status).toBe(401);
  const allowed = await eventually("the pod in the cache", async () => {
    const answer = await ask(token);
    return answer.status !== 401 && answer;
  });
  expect(allowed.status).toBe(503);
  expect(await allowed.json()).toMatchObject({
    error: { message: expect.stringMatching(/ARGUS_MODEL_UPSTREAM/) },
  });
  rig.kube.calls.length = 0;
  await Promise.all(Array.from({ length: 20 }, () => ask(token)));
  expect(rig.kube.calls.filter((call) => call.includes("tokenreviews"))).toEqual([]);
  rig.kube.away = true;
  expect((await ask(token)).status).toBe(503);
  rig.kube.away = false;
});

test("upgrades elsewhere and malformed handshakes are HTTP errors", async () => {
  const wrong = new WebSocket(`${rig.url.replace("http", "ws")}/other`);
  const [error] = await once(wrong, "error");
  expect(String(error)).toContain("404");
  const old = await http("/ws");
  expect(old.status).toBe(404);
});

test("no token and no message content ever reaches a log", async () => {
  const written: string[] = [];
  const logger = pino({ level: "trace" }, { write: (line: string) => written.push(line) });
  await rig.stopGateway();
  await rig.startGateway({ logger });
  rig.putSession("s");
  const { token } = await rig.putPod(
    "s",
    () => {},
    () => ({ reason: "time", now: 0 }),
  );
  const client = new Client(`?session=s&token=${ADMIN}`);
  client.socket.on("open", () => client.socket.send('{"id":1,"method":"private-words"}'));
  await client.frame("the problem", ({ params }) => /clocks/.test(String(params?.["message"])));
  await new Client("?token=wrong-secret").closing();
  await http("/sessions?token=wrong-secret");
  await http(`/openai/v1/responses?token=${token}`, { method: "POST", body: "private-words" });
  rig.kube.away = true;
  await new Client(`?session=elsewhere&token=${ADMIN}`).closing();
  await http(`/sessions/elsewhere?token=${ADMIN}`, { method: "DELETE" });
  rig.kube.away = false;
  const log = written.join("");
  expect(log).toContain("bridge not reached");
  expect(log).toContain("request failed");
  for (const secret of [ADMIN, "wrong-secret", token, "private-words"])
    expect(log).not.toContain(secret);
  client.socket.close();
});
