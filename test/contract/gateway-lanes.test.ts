import { afterEach, beforeEach, expect, test } from "vitest";
import { LaneBridge } from "#test/fakes/lane-bridge.ts";
import { eventually } from "#test/support/eventually.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";
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

async function connect(): Promise<WsClient> {
  const client = await WsClient.connect({ url: rig.url, token: ADMIN, query: { session: "main" } });
  clients.push(client);
  return client;
}
const send = (client: WsClient, text: string, more: object = {}) =>
  client.request("argus/input/enqueue", { text, ...more });
const starts = (count: number) =>
  eventually(`${count} turns started`, () => bridge.started.length === count);
const endOf = async (client: WsClient, inputId: unknown) =>
  (
    await client.waitFor(
      "its end",
      (m) => m.method === "argus/input/ended" && m.params?.["id"] === inputId,
    )
  ).params;

test("messages become turns one after the other, in order, on one main thread", async () => {
  await rig.putPod("main", bridge.onPeer);
  const client = await connect();
  const first = await send(client, "one");
  expect(first).toMatchObject({ ok: true, started: true, queued: false, followupDepth: 0 });
  const second = await send(client, "two", { source: { channel: "telegram", chatKey: "7" } });
  expect(second).toMatchObject({ started: false, queued: true, followupDepth: 1 });
  await starts(1);
  bridge.end(String(first["inputId"]));
  expect(await endOf(client, first["inputId"])).toMatchObject({ state: "done", threadId: "t1" });
  await starts(2);
  bridge.end(String(second["inputId"]), "failed", { message: "no credit" });
  expect(await endOf(client, second["inputId"])).toMatchObject({
    state: "failed",
    reason: "no credit",
    source: { channel: "telegram", chatKey: "7" },
  });
  expect(bridge.started.map(({ text, thread }) => [text, thread])).toEqual([
    ["one", "t1"],
    ["two", "t1"],
  ]);
  expect(bridge.roles).toContain("lane");
});

test("a message accepted without a pod waits in words and runs when there is one", async () => {
  const client = await connect();
  const { inputId } = await send(client, "early");
  await eventually("it says what it waits for", async () => {
    const { waitsFor } = await client.request("argus/input/list");
    return String(waitsFor).startsWith("Waiting for the controller");
  });
  await rig.putPod("main", bridge.onPeer);
  await starts(1);
  bridge.end(String(inputId));
  expect(await endOf(client, inputId)).toMatchObject({ state: "done" });
});

test("a repeated key is one turn, before and after its end", async () => {
  await rig.putPod("main", bridge.onPeer);
  const client = await connect();
  const { inputId } = await send(client, "once", { key: "tg:1:2" });
  expect(await send(client, "once", { key: "tg:1:2" })).toMatchObject({ inputId, repeated: true });
  await starts(1);
  bridge.end(String(inputId));
  await endOf(client, inputId);
  expect(await send(client, "once", { key: "tg:1:2" })).toMatchObject({
    inputId,
    repeated: true,
    ended: { state: "done" },
  });
  expect(bridge.started).toHaveLength(1);
});

test("after a restart the gateway asks the bridge about the started message and goes on with the others", async () => {
  await rig.putPod("main", bridge.onPeer);
  const client = await connect();
  const first = String((await send(client, "one"))["inputId"]);
  const second = String((await send(client, "two"))["inputId"]);
  await starts(1);
  await rig.stopGateway();
  bridge.end(first);
  await rig.startGateway();
  const again = await connect();
  await starts(2);
  bridge.end(second);
  await eventually("both ended", async () => {
    const { ended } = await again.request("argus/input/list");
    return (
      (ended as { id: string; state: string }[]).filter(({ state }) => state === "done").length ===
      2
    );
  });
  expect(bridge.started.map(({ id }) => id)).toEqual([first, second]);
});

test("a lost connection in the middle of a turn is dialled again and the turn is joined", async () => {
  await rig.putPod("main", bridge.onPeer);
  const client = await connect();
  const { inputId } = await send(client, "long");
  await starts(1);
  const before = bridge.roles.filter((role) => role === "lane").length;
  bridge.cut();
  await eventually(
    "the lane is back",
    () => bridge.roles.filter((role) => role === "lane").length > before,
  );
  bridge.end(String(inputId));
  const watcher = await connect();
  await eventually("it ended", async () => {
    const { ended } = await watcher.request("argus/input/list");
    return (ended as { state: string }[]).some(({ state }) => state === "done");
  });
  expect(bridge.started).toHaveLength(1);
});

test("an app-server that died in the middle of a turn says nothing of its end: the ledger is asked", async () => {
  await rig.putPod("main", bridge.onPeer);
  const client = await connect();
  const { inputId } = await send(client, "long");
  await starts(1);
  await client.waitFor("it runs", (m) => m.method === "argus/turn/progress");
  const entry = bridge.ledger.get(String(inputId));
  if (entry) entry.status = "interrupted";
  bridge.say("argus/restarted", { boot: "b1", reason: "the app-server was killed" });
  expect(await endOf(client, inputId)).toMatchObject({ state: "interrupted" });
  expect(bridge.started).toHaveLength(1);
});

test("a busy thread is waited for; what the runtime cannot tell ends as unknown; a final no ends as failed", async () => {
  await rig.putPod("main", bridge.onPeer);
  const client = await connect();
  bridge.refusals = [{ code: -32001, message: "another turn runs", data: { reason: "busy" } }];
  const patient = await send(client, "patient");
  await starts(1);
  bridge.end(String(patient["inputId"]));
  expect(await endOf(client, patient["inputId"])).toMatchObject({ state: "done" });
  bridge.refusals = [
    { code: -32000, message: "OutcomeUnknown: …", data: { reason: "OutcomeUnknown" } },
  ];
  const lost = await send(client, "lost");
  expect(await endOf(client, lost["inputId"])).toMatchObject({ state: "unknown" });
  bridge.refusals = [{ code: -32602, message: "no such model" }];
  const wrong = await send(client, "wrong");
  expect(await endOf(client, wrong["inputId"])).toMatchObject({
    state: "failed",
    reason: "no such model",
  });
  expect(bridge.started).toHaveLength(1);
});

test("a waiting message is taken back, a running one is stopped, clients hear what its turn does", async () => {
  await rig.putPod("main", bridge.onPeer);
  const client = await connect();
  const first = await send(client, "one");
  const second = await send(client, "two");
  await starts(1);
  const said = (words: string) =>
    client.waitFor(
      words,
      (m) => m.method === "argus/turn/progress" && m.params?.["words"] === words,
    );
  await said("A turn is running.");
  const item = { id: "c1", type: "commandExecution", command: "make" };
  bridge.say("item/started", { turnId: "turn-1", item });
  expect((await said("The running turn executes `make`.")).params).toMatchObject({
    inputId: first["inputId"],
    kind: "message",
  });
  expect(await client.request("argus/input/cancel", { inputId: second["inputId"] })).toMatchObject({
    outcome: "cancelled",
  });
  expect(await client.request("argus/input/cancel", { inputId: first["inputId"] })).toMatchObject({
    outcome: "running",
  });
  expect(await endOf(client, first["inputId"])).toMatchObject({
    state: "interrupted",
    reason: "you asked for it.",
  });
  const third = await send(client, "three");
  await starts(2);
  bridge.end(String(third["inputId"]));
  expect(bridge.started.map(({ text }) => text)).toEqual(["one", "three"]);
});

test("whoever waits behind a turn hears what it waits for: work, a command, an approval, the model, its rate limit", async () => {
  await rig.putPod("main", bridge.onPeer);
  const client = await connect();
  await send(client, "first");
  await starts(1);
  await send(client, "second", { key: "second" });
  const words = (wanted: string) =>
    eventually(wanted, async () => {
      const { waitsFor } = await client.request("argus/input/list");
      return String(waitsFor).includes(wanted);
    });
  const turn = { turnId: "turn-1" };
  const status = (...activeFlags: string[]) =>
    bridge.say("thread/status/changed", { status: { type: "active", activeFlags } });
  await words("A turn is running.");
  const item = { type: "commandExecution", id: "c", command: "make" };
  bridge.say("item/started", { ...turn, item });
  await words("executes `make`");
  bridge.say("item/completed", { ...turn, item });
  status("waitingOnApproval");
  await words("waits for an approval");
  status();
  bridge.say("error", { ...turn, error: { message: "503 of the model" }, willRetry: true });
  await words("waits for the model (503 of the model)");
  const codexErrorInfo = { responseTooManyFailedAttempts: { httpStatusCode: 429 } };
  const limited = { message: "slow down", codexErrorInfo };
  bridge.say("error", { ...turn, error: limited, willRetry: true });
  await words("waits for its rate limit (slow down)");
  const again = await send(client, "second", { key: "second" });
  expect(again).toMatchObject({
    repeated: true,
    waitsFor: expect.stringMatching(/rate limit.*One turn is before it/),
  });
});

test("bad calls are named", async () => {
  const client = await connect();
  const cases: [string, object, number, RegExp][] = [
    ["argus/input/enqueue", {}, -32602, /^Missing 'text'$/],
    ["argus/input/enqueue", { text: "  " }, -32602, /^Missing 'text'$/],
    ["argus/input/enqueue", { text: "a", source: { channel: "x" } }, -32602, /source.chatKey/],
    ["argus/input/enqueue", { text: "a".repeat(70_000) }, -32602, /at most 65536 bytes/],
    ["argus/input/cancel", { inputId: "in-0" }, -32602, /no input in-0/],
    ["argus/nothing", {}, -32601, /^Method not found: argus\/nothing$/],
  ];
  for (const [method, params, code, message] of cases) {
    expect(await client.ask(method, params)).toMatchObject({
      error: { code, message: expect.stringMatching(message) },
    });
  }
});

test("a session deleted and made again under its name inherits nothing", async () => {
  const client = await connect();
  await send(client, "for the first", { key: "k" });
  await rig.deleteSession("main");
  await client.waitClosed();
  rig.putSession("main");
  await rig.putPod("main", bridge.onPeer);
  const next = await connect();
  const list = await next.request("argus/input/list");
  expect(list).toMatchObject({ inputs: [], ended: [] });
  expect(await send(next, "for the second", { key: "k" })).toMatchObject({ repeated: false });
  await starts(1);
  expect(bridge.started[0]?.text).toBe("for the second");
});
