import { afterEach, beforeEach, expect, test } from "vitest";
import { LaneBridge } from "#test/fakes/lane-bridge.ts";
import { eventually } from "#test/support/eventually.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";
import { WsClient } from "#test/support/ws-client.ts";

let rig: GatewayRig;
let bridge: LaneBridge;
beforeEach(async () => {
  rig = await GatewayRig.start();
  bridge = new LaneBridge();
});
afterEach(() => rig.stop());

interface Called {
  status: number;
  result: Record<string, unknown>;
  detail: string;
}

async function call(method: string, params: object = {}, more: object = {}): Promise<Called> {
  const { token = ADMIN, ...named } = more as { token?: string };
  const answer = await fetch(`${rig.url}/call`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify({ method: `argus/${method}`, params, ...named }),
  });
  return { ...((await answer.json()) as Called), status: answer.status };
}

async function tokenFor(session: string): Promise<string> {
  const issued = await fetch(`${rig.url}/tokens`, {
    method: "POST",
    headers: { authorization: `Bearer ${ADMIN}`, "content-type": "application/json" },
    body: JSON.stringify({ sessions: [session] }),
  });
  return ((await issued.json()) as { token: string }).token;
}

const names = async () =>
  ((await call("session/list")).result["sessions"] as { name: string }[]).map(({ name }) => name);

/** Made over the gateway; the cache has it. */
async function made(name: string): Promise<void> {
  await call("session/create", { name });
  await eventually("it is listed", async () => (await names()).includes(name));
}

test("a session is made once, listed with its title, and deleted only when exactly it was confirmed", async () => {
  const first = await call("session/create", { name: "garden", title: "The garden" });
  expect(first.result).toEqual({ ok: true, sessionId: "garden", created: true });
  const again = await call("session/create", { name: "garden" });
  expect(again.result).toMatchObject({ sessionId: "garden", created: false });
  await eventually("it is listed", async () => (await names()).includes("garden"));
  const { result } = await call("session/list");
  expect(result["sessions"]).toMatchObject([{ name: "garden", title: "The garden", chats: [] }]);

  await call("input/enqueue", { text: "hello" }, { session: "garden" });
  const asked = await call("session/delete", { session: "garden" });
  expect(asked.result).toMatchObject({ deleted: false });
  expect(asked.result["message"]).toContain("garden (The garden)");
  expect(asked.result["message"]).toContain("1 open message");
  expect(rig.session("garden")?.metadata.deletionTimestamp).toBeUndefined();
  const wrong = await call("session/delete", { session: "garden", confirm: "another" });
  expect([wrong.status, wrong.detail]).toEqual([409, expect.stringContaining("Ask again")]);
  const confirm = asked.result["confirm"];
  const done = await call("session/delete", { session: "garden", confirm });
  expect(done.result).toMatchObject({ deleted: true });
  await eventually("it is gone", () => rig.session("garden") === undefined);

  await made("garden");
  const { session } = (await call("session/get", { session: "garden" })).result as never;
  expect(session).toMatchObject({ name: "garden", chats: [], home: null, mainThreadId: null });
  expect(session).not.toHaveProperty("title");
});

test("a session gets a title, and loses it", async () => {
  rig.putSession("main");
  await eventually("it is listed", async () => (await names()).includes("main"));
  await call("session/rename", { session: "main", title: "  Home  " });
  const titled = async () =>
    ((await call("session/get", { session: "main" })).result["session"] as { title?: string })
      .title;
  expect(await titled()).toBe("Home");
  await rig.stopGateway();
  await rig.startGateway();
  expect(await titled()).toBe("Home");
  await call("session/rename", { session: "main", title: "" });
  expect(await titled()).toBeUndefined();
});

test("what is wrong is said", async () => {
  const refused = async (method: string, params: object, more: object = {}) => {
    const { status, detail } = await call(method, params, more);
    return `${status} ${detail}`;
  };
  expect(await refused("session/create", { name: "No Good" })).toMatch(/^400 name: a session's/);
  expect(await refused("session/get", { session: "none" })).toMatch(
    /^404 There is no session none/,
  );
  expect(await refused("session/rename", { session: "none", title: "x" })).toMatch(/^404/);
  expect(await refused("session/nothing", {})).toBe("404 Method not found: argus/session/nothing");
  expect(await refused("chat/unbind", { chat: "telegram:1" })).toMatch(
    /^404 .*bound to no session/,
  );
  expect(await refused("chat/bind", { chat: "no channel" })).toMatch(/^400 chat/);
  expect(await refused("session/list", {}, { token: "wrong" })).toBe("401 Unauthorized");
});

test("a client's token sees its own session and neither makes, deletes nor binds", async () => {
  rig.putSession("mine");
  rig.putSession("other");
  await eventually("both are listed", async () => (await names()).length === 2);
  const token = await tokenFor("mine");
  const own = await call("session/list", {}, { token });
  expect((own.result["sessions"] as { name: string }[]).map(({ name }) => name)).toEqual(["mine"]);
  const statuses = await Promise.all([
    call("session/get", {}, { token }),
    call("session/get", { session: "other" }, { token }),
    call("session/create", { name: "third" }, { token }),
    call("session/delete", { session: "mine" }, { token }),
    call("chat/bind", { chat: "telegram:1" }, { token }),
    call("thread/main/reset", {}, { token }),
  ]);
  expect(statuses.map(({ status }) => status)).toEqual([200, 403, 403, 403, 403, 200]);
});

test("the main thread is made once, whoever asks, and reset, chosen and kept over a restart", async () => {
  rig.putSession("main");
  await rig.putPod("main", bridge.onPeer);
  await eventually("it is listed", async () => (await names()).length === 1);
  const client = await WsClient.connect({ url: rig.url, token: ADMIN, query: { session: "main" } });
  const both = await Promise.all([
    client.request("argus/thread/main/ensure", {}),
    call("thread/main/ensure", { session: "main" }).then(({ result }) => result),
  ]);
  expect(both[0]?.["threadId"]).toEqual(both[1]?.["threadId"]);
  const { threadId: old } = both[0] ?? {};
  await client.request("argus/input/enqueue", { text: "one" });
  await eventually("its turn", () => bridge.started.length === 1);
  expect(bridge.started[0]?.thread).toBe(old);
  // Sent before the reset: it belongs to the conversation before it.
  await client.request("argus/input/enqueue", { text: "two" });
  const reset = await client.request("argus/thread/main/reset", { key: "tg:1" });
  await client.waitFor(
    "the change is told",
    ({ method, params }) => method === "argus/thread/main/changed" && params?.["threadId"] === null,
  );
  expect(reset).toEqual({ ok: true, threadId: null, former: old, repeated: false });
  await client.request("argus/input/enqueue", { text: "three" });
  for (const n of [0, 1, 2]) {
    await eventually("the next turn", () => bridge.started.length > n);
    bridge.end(bridge.started[n]?.id ?? "");
  }
  const threads = bridge.started.map(({ text, thread }) => [text, thread === old]);
  expect(threads).toEqual([
    ["one", true],
    ["two", true],
    ["three", false],
  ]);
  const repeated = await client.request("argus/thread/main/reset", { key: "tg:1" });
  expect(repeated).toMatchObject({ repeated: true, former: null });
  const wrong = await client.ask("argus/thread/main/set", { threadId: "t99" });
  expect(wrong.error?.message).toContain("no thread t99");
  expect(await client.request("argus/thread/main/set", { threadId: old })).toMatchObject({
    threadId: old,
  });
  await client.close();
  await rig.stopGateway();
  await rig.startGateway();
  expect((await call("thread/main/ensure", { session: "main" })).result).toEqual({
    threadId: old,
    created: false,
  });
});

test("asking for a main thread wakes the session and waits for its pod", async () => {
  rig.putSession("main", { spec: { idle: { suspendAfterSeconds: 60, wakeOn: ["Message"] } } });
  await eventually("it is listed", async () => (await names()).length === 1);
  const asked = call("thread/main/ensure", { session: "main" });
  await eventually("it is needed", () => rig.session("main")?.status?.activity?.demand === "Open");
  await rig.putPod("main", bridge.onPeer);
  expect((await asked).result).toEqual({ threadId: "t1", created: true });
});

test("a client wakes the session that its lines wait for", async () => {
  rig.putSession("main", { spec: { idle: { suspendAfterSeconds: 60, wakeOn: ["Message"] } } });
  const demand = () => rig.session("main")?.status?.activity?.demand;
  await eventually("nobody needs it", () => demand() === "None");
  await call("session/wake", { session: "main" });
  await eventually("it is needed", () => demand() === "Open");
});

test("a chat is bound, moved and unbound, and events go where the session has its home", async () => {
  await made("a");
  await made("b");
  const bound = await call("chat/bind", { session: "a", chat: "telegram:1", by: "telegram:7" });
  expect(bound.result).toEqual({
    ok: true,
    chat: "telegram:1",
    sessionId: "a",
    former: null,
    isHome: true,
  });
  const second = await call("chat/bind", { session: "a", chat: "telegram:-100:5" });
  expect(second.result).toMatchObject({ isHome: false });
  const moved = await call("chat/bind", { session: "b", chat: "telegram:1" });
  expect(moved.result).toMatchObject({ former: "a", isHome: true });
  const chats = async (session: string) => (await call("chat/list", { session })).result;
  expect(await chats("a")).toMatchObject({ chats: ["telegram:-100:5"], home: "telegram:-100:5" });
  expect(await chats("b")).toMatchObject({ chats: ["telegram:1"], home: "telegram:1" });
  await rig.stopGateway();
  await rig.startGateway();
  expect(await chats("b")).toMatchObject({ chats: ["telegram:1"], home: "telegram:1" });
  await call("chat/unbind", { chat: "telegram:1" });
  expect(await chats("b")).toMatchObject({ chats: [], home: null });
});

test("a schedule run twice under one key is one event, and a heartbeat can be asked for", async () => {
  await made("main");
  await call("cron/add", { jobId: "daily", expr: "0 7 * * *", text: "hello" });
  const once = { jobId: "daily", key: "k1" };
  expect((await call("cron/run", once)).result).toMatchObject({ enqueued: true });
  await call("cron/run", once);
  await call("cron/run", { jobId: "daily", key: "k2" });
  const { result } = await call("event/list");
  expect((result["events"] as { key: string }[]).map(({ key }) => key)).toEqual([
    "run/client/daily/k1",
    "run/client/daily/k2",
  ]);
  const beat = (query: string, token = ADMIN) =>
    fetch(`${rig.url}/automation/heartbeat/now${query}`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}` },
    });
  expect(await (await beat("")).json()).toEqual({ ok: true, sessionId: "main" });
  expect((await beat("?session=none")).status).toBe(404);
  expect((await beat("", "wrong")).status).toBe(401);
});

test("a session's client lets answers go only to chats that the owner bound to it", async () => {
  rig.putSession("garden");
  rig.putSession("house");
  await eventually("both are listed", async () => (await names()).length === 2);
  const token = await tokenFor("garden");
  const ask = (chatKey: string, more: object) => {
    const source = { channel: "telegram", chatKey };
    return call("input/enqueue", { text: "hello", key: chatKey, source }, more);
  };
  await call("chat/bind", { session: "garden", chat: "telegram:1" });
  await call("chat/bind", { session: "house", chat: "telegram:2" });
  expect((await ask("1", { token, session: "garden" })).result).toMatchObject({ ok: true });
  for (const chat of ["2", "3"]) {
    const refused = await ask(chat, { token, session: "garden" });
    expect([refused.status, refused.detail]).toEqual([
      403,
      expect.stringContaining(`Chat telegram:${chat} is not bound to session garden`),
    ]);
  }
  expect((await ask("3", { session: "garden" })).result).toMatchObject({ ok: true });
  const { result } = await call("input/list", {}, { session: "garden" });
  expect((result["inputs"] as { key: string }[]).map(({ key }) => key)).toEqual(["1", "3"]);
});
