import { afterEach, beforeEach, expect, test } from "vitest";
import { argusCrons } from "#cluster/resources.ts";
import type { ArgusCron } from "#crds/kinds.ts";
import { LaneBridge } from "#test/fakes/lane-bridge.ts";
import { eventually } from "#test/support/eventually.ts";
import { ADMIN, GatewayRig, NAMESPACE, podToken } from "#test/support/gateway.ts";
import { WsClient } from "#test/support/ws-client.ts";

let rig: GatewayRig;
let bridge: LaneBridge;
const clients: WsClient[] = [];
beforeEach(async () => {
  rig = await GatewayRig.start();
  bridge = new LaneBridge();
  rig.putSession("main");
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  await rig.stop();
});

const PATH = "/automation/systemEvent/enqueue";
interface Answer {
  status: number;
  body: Record<string, unknown>;
  retryAfter: string | null;
}

async function call(path: string, body?: unknown, token = ADMIN): Promise<Answer> {
  const answer = await fetch(`${rig.url}${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const retryAfter = answer.headers.get("retry-after");
  return { status: answer.status, body: (await answer.json()) as Answer["body"], retryAfter };
}
const post = (body: unknown, token?: string) => call(PATH, body, token);
const statusOf = (key: string, session = "main", token?: string) =>
  call(
    `/automation/systemEvent?sessionId=${session}&key=${encodeURIComponent(key)}`,
    undefined,
    token,
  );
const slot = (n: number, more: object = {}) => ({
  key: `cron-uid/${n}`,
  sessionId: "main",
  kind: "cron",
  text: `slot ${n}`,
  slot: new Date(n * 1000).toISOString(),
  source: { name: "hourly", uid: "cron-uid" },
  concurrencyPolicy: "Allow",
  ...more,
});
async function connect(): Promise<WsClient> {
  const client = await WsClient.connect({ url: rig.url, token: ADMIN, query: { session: "main" } });
  clients.push(client);
  return client;
}
async function tokenFor(session: string): Promise<string> {
  const { body } = await call("/tokens", { sessions: [session], ttlSeconds: 600 });
  return String(body["token"]);
}
const turns = (count: number) =>
  eventually(`${count} turns`, () => bridge.started.length === count);

test("an event is committed, told in a turn of its own, and its end can be asked for by its key", async () => {
  const client = await connect();
  const accepted = await post(slot(60));
  expect(accepted).toMatchObject({
    status: 202,
    body: {
      ok: true,
      sessionId: "main",
      state: "queued",
      event: { kind: "cron", text: "slot 60" },
    },
  });
  expect((await post(slot(60))).body).toMatchObject({ state: "duplicate" });
  expect((await statusOf("cron-uid/60")).body).toMatchObject({ state: "Queued" });
  await rig.putPod("main", bridge.onPeer);
  await turns(1);
  expect(bridge.prompts[0]).toContain("slot 60");
  expect((await statusOf("cron-uid/60")).body).toMatchObject({ state: "Running" });
  bridge.end(String(bridge.started[0]?.id));
  const { params } = await client.notification("argus/event/ended");
  expect(params).toMatchObject({ key: "cron-uid/60", state: "Succeeded" });
  const { body } = await statusOf("cron-uid/60");
  expect(body).toMatchObject({
    state: "Succeeded",
    finishedAt: expect.stringMatching(/Z$/),
    lastSuccessfulSlot: "1970-01-01T00:01:00.000Z",
  });
  expect((await post(slot(60))).body).toMatchObject({ state: "duplicate" });
  expect(bridge.started).toHaveLength(1);
});

test("what was accepted before a restart of the gateway is known and runs once after it", async () => {
  await post(slot(60));
  await rig.stopGateway();
  await rig.startGateway();
  expect((await post(slot(60))).body).toMatchObject({ state: "duplicate" });
  await rig.putPod("main", bridge.onPeer);
  await turns(1);
  bridge.end(String(bridge.started[0]?.id));
  await eventually(
    "it succeeded",
    async () => (await statusOf("cron-uid/60")).body["state"] === "Succeeded",
  );
  expect(bridge.started).toHaveLength(1);
});

test("the older form without a key is answered as its senders expect, and each one is an event", async () => {
  const first = await post({ text: "hello" });
  const second = await post({ text: "hello" });
  expect(first).toMatchObject({
    status: 200,
    body: { ok: true, sessionId: "main", threadId: null, event: { kind: "system", text: "hello" } },
  });
  expect(first.body["event"]).not.toEqual(second.body["event"]);
});

test("whether an earlier slot of the same schedule forbids or gives way is decided here", async () => {
  await post(slot(60));
  const skipped = await post(slot(120, { concurrencyPolicy: "Forbid" }));
  expect(skipped).toMatchObject({
    status: 202,
    body: { state: "skipped", reason: expect.stringContaining("still active") },
  });
  expect((await statusOf("cron-uid/120")).body).toMatchObject({ state: "Skipped" });
  expect((await post(slot(180, { concurrencyPolicy: "Replace" }))).body).toMatchObject({
    state: "queued",
  });
  expect((await statusOf("cron-uid/60")).body).toMatchObject({
    state: "Skipped",
    reason: expect.stringContaining("replaced"),
  });
});

test("who may report: the admin, the controller, and a client for its own session only", async () => {
  rig.putSession("other");
  const controller = podToken("controller");
  const user = `system:serviceaccount:${NAMESPACE}:argus-controller`;
  rig.kube.tokens.set(controller, { podUid: "uid-of-controller", user });
  expect((await post(slot(60), controller)).status).toBe(202);
  expect((await statusOf("cron-uid/60", "main", controller)).status).toBe(200);
  const { token } = await rig.putPod("main", bridge.onPeer);
  expect((await post(slot(120), token)).status).toBe(401);
  expect((await post(slot(120), "nobody")).status).toBe(401);
  const own = await tokenFor("other");
  expect((await post({ text: "mine", key: "k" }, own)).body).toMatchObject({ sessionId: "other" });
  expect((await post(slot(120), own)).status).toBe(403);
  expect((await statusOf("cron-uid/60", "main", own)).status).toBe(403);
  // A client cannot speak for a schedule: its event counts for the client.
  await post({ text: "a", key: "a", source: { name: "hourly", uid: "cron-uid" } }, own);
  const { body } = await call("/automation/state", undefined, own);
  expect(body).toMatchObject({ persisted: { sessions: { other: { mainThreadId: null } } } });
  expect(JSON.stringify(body)).not.toContain("slot 60");
  expect((await fetch(`${rig.url}/automation/state`)).status).toBe(401);
});

test("what cannot be taken is refused with what to change, and nothing is committed", async () => {
  const cases: [string, unknown, number, RegExp][] = [
    ["no text", {}, 400, /^Missing 'text'$/],
    ["blank", { text: "  " }, 400, /^Missing 'text'$/],
    ["a list", [], 400, /object/],
    ["no JSON", "{", 400, /JSON/],
    ["a wrong field", { text: "a", kind: 7 }, 400, /^kind: /],
    ["a wrong policy", { text: "a", concurrencyPolicy: "Never" }, 400, /^concurrencyPolicy: /],
    ["17 KiB", { text: "a".repeat(17 * 1024) }, 413, /at most 16384 bytes/],
    ["10 MiB", { text: "a".repeat(10 * 1024 * 1024) }, 413, /at most 16384 bytes/],
    ["unknown", { text: "a", sessionId: "nobody" }, 404, /no session nobody/],
  ];
  for (const [what, body, status, detail] of cases) {
    const answer = await post(body);
    expect([what, answer.status, answer.body["detail"]]).toEqual([
      what,
      status,
      expect.stringMatching(detail),
    ]);
  }
  expect((await post({ text: "a", sessionId: "nobody" })).body["code"]).toBe("SessionNotFound");
  expect((await statusOf("never")).body["code"]).toBe("EventNotFound");
  expect((await call("/automation/systemEvent")).body["detail"]).toContain("key");
});

test("a noisy source is told to wait and leaves room for others", async () => {
  for (let n = 1; n <= 50; n += 1) await post(slot(n));
  const full = await post(slot(51));
  expect(full).toMatchObject({ status: 429, body: { detail: expect.stringContaining("hourly") } });
  expect(Number(full.retryAfter)).toBeGreaterThan(0);
  expect((await post({ text: "other", key: "o" })).status).toBe(202);
});

test("a client lists events, gives one up, and lets a dead one run again under its key", async () => {
  const client = await connect();
  const { event } = await client.request("argus/systemEvent/enqueue", { text: "seed" });
  expect(event).toMatchObject({ kind: "system", text: "seed" });
  await client.request("argus/event/enqueue", { text: "keyed", key: "k" });
  await client.request("argus/event/drop", { key: "k" });
  expect((await statusOf("k")).body).toMatchObject({
    state: "DeadLettered",
    reason: "dropped by a person",
  });
  const dead = await client.request("argus/event/list", { state: "DeadLettered" });
  expect(dead).toMatchObject({ events: [{ key: "k", canReplay: true, text: "keyed" }] });
  await client.request("argus/event/replay", { key: "k" });
  expect((await statusOf("k")).body).toMatchObject({ state: "Queued" });
  const wrong = await client.ask("argus/event/drop", { key: "never" });
  expect(wrong.error).toMatchObject({ code: -32602, message: expect.stringContaining("never") });
});

const JOBS = "/automation/cron/jobs";
const remove = (id: string) =>
  fetch(`${rig.url}${JOBS}/${id}`, {
    method: "DELETE",
    headers: { authorization: `Bearer ${ADMIN}` },
  });

test("jobs are ArgusCrons of the session: made, replaced, listed, removed, and a person's are only shown", async () => {
  const made = await call(JOBS, { jobId: "news", expr: "0 8 * * *", text: "read the news" });
  expect(made.body).toMatchObject({
    ok: true,
    sessionId: "main",
    job: { jobId: "news", expr: "0 8 * * *", text: "read the news", enabled: true, managed: true },
  });
  await call(JOBS, { jobId: "news", expr: "0 9 * * *", text: "later", enabled: false });
  rig.kube.put(argusCrons, {
    metadata: { name: "morning", namespace: NAMESPACE },
    spec: { schedule: "0 7 * * *", sessionRef: { name: "main" }, event: { text: "hi" } },
  } as ArgusCron);
  const { body } = await call(JOBS);
  expect(body["jobs"]).toMatchObject([
    { jobId: "morning", managed: false },
    { jobId: "news", expr: "0 9 * * *", enabled: false, managed: true },
  ]);
  const refused = await remove("morning");
  expect(refused.status).toBe(403);
  expect(await refused.json()).toMatchObject({
    detail: expect.stringContaining("made by a person"),
  });
  expect((await remove("news")).status).toBe(200);
  expect((await remove("news")).status).toBe(404);
});

test("a schedule of 31 February, or one that cannot be read, is refused with the reason", async () => {
  const never = await call(JOBS, { expr: "0 0 31 2 *", text: "never" });
  expect(never).toMatchObject({
    status: 400,
    body: { detail: expect.stringContaining("never comes") },
  });
  const wrong = await call(JOBS, { expr: "61 * * * *", text: "never" });
  expect(wrong).toMatchObject({ status: 400, body: { detail: expect.stringMatching(/^expr: /) } });
  expect((await call(JOBS, { expr: "* * * * *" })).body["detail"]).toContain("text");
});

test("the agent's cron tool makes, changes, runs and removes schedules of its own session only", async () => {
  const { token } = await rig.putPod("main", bridge.onPeer);
  const ask = async (body: object, session?: string) => {
    const answer = await fetch(`${rig.url}/mcp`, {
      method: "POST",
      headers: {
        authorization: `Bearer ${token}`,
        "content-type": "application/json",
        ...(session ? { "mcp-session-id": session } : {}),
      },
      body: JSON.stringify({ jsonrpc: "2.0", ...body }),
    });
    return { id: answer.headers.get("mcp-session-id") ?? "", text: await answer.text() };
  };
  const params = {
    protocolVersion: "2025-11-25",
    capabilities: {},
    clientInfo: { name: "test", version: "0" },
  };
  const { id } = await ask({ id: 1, method: "initialize", params });
  let calls = 1;
  const cron = async (args: object) => {
    calls += 1;
    const call = { method: "tools/call", params: { name: "cron", arguments: args } };
    const { text } = await ask({ id: calls, ...call }, id);
    const { result } = JSON.parse(text) as { result: { structuredContent: object } };
    return result.structuredContent;
  };
  expect(await cron({ action: "add", jobId: "j", expr: "0 0 1 1 *", text: "year" })).toMatchObject({
    ok: true,
    sessionId: "main",
    job: { jobId: "j", enabled: true },
  });
  await cron({ action: "update", jobId: "j", enabled: false });
  expect(await cron({ action: "list" })).toMatchObject({ jobs: [] });
  expect(await cron({ action: "status" })).toMatchObject({ jobs: 1, enabledJobs: 0 });
  expect(await cron({ action: "run", jobId: "j" })).toMatchObject({ enqueued: true });
  await turns(1);
  expect(bridge.prompts[0]).toContain("year");
  bridge.end(String(bridge.started[0]?.id));
  const other = await cron({ action: "list", sessionId: "other" });
  expect(other).toMatchObject({ ok: false, error: { code: "UNSUPPORTED" } });
  expect(await cron({ action: "add", expr: "* * * * *" })).toMatchObject({
    error: { code: "INVALID_ARGUMENT", message: expect.stringContaining("text") },
  });
  await cron({ action: "remove", jobId: "j" });
  expect(await cron({ action: "remove", jobId: "j" })).toMatchObject({
    error: { code: "NOT_FOUND" },
  });
});
