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
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  await rig.stop();
});

const IDLE = { spec: { idle: { suspendAfterSeconds: 60, wakeOn: ["Message"] } } };
const LINGER_MS = 20_000;
const demandOf = (name: string) => rig.session(name)?.status?.activity?.demand;
const demand = (name: string, wanted: string, withinMs?: number) =>
  eventually(`demand of ${name} is ${wanted}`, () => demandOf(name) === wanted, withinMs);
const writes = () =>
  rig.kube.calls.filter((call) => /^(APPLY|JSON PATCH).*argussessions/.test(call));

const said = () =>
  [...rig.kube.objects.values()]
    .filter(({ kind }) => kind === "Event")
    .map((event) => (event as unknown as { message: string }).message);

async function connect(session: string): Promise<WsClient> {
  const client = await WsClient.connect({ url: rig.url, token: ADMIN, query: { session } });
  clients.push(client);
  return client;
}

test("demand opens with a message before its turn starts, and closes when nothing is open", {
  timeout: 60_000,
}, async () => {
  rig.putSession("main", IDLE);
  await rig.putPod("main", bridge.onPeer);
  await demand("main", "None");
  const types = rig.session("main")?.status?.conditions?.map(({ type, status }) => [type, status]);
  expect(types).toEqual([
    ["StateReadable", "True"],
    ["LaneProgressing", "True"],
    ["DeliveriesHealthy", "True"],
  ]);
  const client = await connect("main");
  const { inputId } = await client.request("argus/input/enqueue", { text: "hello" });
  await eventually("its turn", () => bridge.started.length === 1);
  expect(demandOf("main")).toBe("Open");
  bridge.end(String(inputId));
  await demand("main", "None", LINGER_MS);
  expect(rig.session("main")?.metadata.finalizers).toEqual(["argus.dev/gateway"]);
});

test("a session that is about to be suspended starts nothing until that is decided again", async () => {
  const suspending = { type: "Suspended", status: "False", reason: "Suspending" };
  rig.putSession("main", { ...IDLE, status: { conditions: [suspending] } });
  await rig.putPod("main", bridge.onPeer);
  const client = await connect("main");
  await client.request("argus/input/enqueue", { text: "hello" });
  await demand("main", "Open");
  expect(bridge.started).toEqual([]);
  const { status } = rig.session("main") ?? {};
  const others = status?.conditions?.filter(({ type }) => type !== "Suspended") ?? [];
  const decided = { ...suspending, reason: "NotSuspended" };
  rig.putSession("main", { ...IDLE, status: { ...status, conditions: [...others, decided] } });
  await eventually("its turn", () => bridge.started.length === 1);
});

test("the first line of a client that speaks to the app-server itself waits for the demand", {
  timeout: 60_000,
}, async () => {
  rig.putSession("main", IDLE);
  await rig.putPod("main", bridge.onPeer);
  await demand("main", "None");
  const client = await connect("main");
  rig.kube.away = true;
  const asked = client.request("thread/start", {});
  await client.request("argus/input/list", {}).catch(() => undefined);
  expect(bridge.threads).toBe(0);
  rig.kube.away = false;
  await asked;
  expect(bridge.threads).toBe(1);
  expect(demandOf("main")).toBe("Open");
  bridge.isUnused = false;
  await eventually("its bridge was asked", () => bridge.asked > 0);
  expect(demandOf("main")).toBe("Open");
  bridge.isUnused = true;
  await demand("main", "None", 2 * LINGER_MS);
});

test("a restart with idle sessions writes nothing", async () => {
  for (let n = 0; n < 100; n += 1) rig.putSession(`s${n}`, IDLE);
  await demand("s99", "None");
  await eventually("all", () => writes().length === 100);
  await rig.stopGateway();
  const before = writes().length;
  await rig.startGateway();
  rig.putSession("last", IDLE);
  await demand("last", "None");
  expect(writes().length - before).toBe(1);
});

test("a deleted session's messages end as such, then it goes, and its name inherits nothing", async () => {
  rig.putSession("main");
  const client = await connect("main");
  const { inputId } = await client.request("argus/input/enqueue", { text: "hello" });
  const uid = rig.session("main")?.metadata.uid;
  await rig.deleteSession("main");
  const ended = await client.waitFor("its end", ({ method }) => method === "argus/input/ended");
  expect(ended.params).toMatchObject({ id: inputId, state: "failed" });
  expect(ended.params?.["reason"]).toContain("the session was deleted");
  await eventually("it is gone", () => rig.session("main") === undefined);
  rig.putSession("main");
  expect(rig.session("main")?.metadata.uid).not.toBe(uid);
  const next = await connect("main");
  expect((await next.request("argus/input/list", {}))["inputs"]).toEqual([]);
});

test("a session that was deleted while the gateway was away is let go when it is back", async () => {
  rig.putSession("main");
  const client = await connect("main");
  await client.request("argus/input/enqueue", { text: "hello" });
  await rig.stopGateway();
  await rig.deleteSession("main");
  expect(rig.session("main")?.metadata.deletionTimestamp).toBeDefined();
  await rig.startGateway();
  await eventually("it is gone", () => rig.session("main") === undefined);
  const words = "1 open messages and events ended with the session; their senders are told";
  await eventually("it is said", () => said().includes(words));
});

test("a session that only had heartbeats waits for the gateway too, and nothing of it stays", async () => {
  rig.putSession("main", { spec: { ...IDLE.spec, heartbeat: { intervalSeconds: 1 } } });
  await demand("main", "Open");
  await rig.stopGateway();
  await rig.deleteSession("main");
  expect(rig.session("main")?.metadata.deletionTimestamp).toBeDefined();
  await rig.startGateway();
  await eventually("it is gone", () => rig.session("main") === undefined);
});

test("a deleted session waits until the chats of its open messages were told", async () => {
  rig.putSession("main");
  const client = await connect("main");
  const source = { channel: "telegram", chatKey: "1" };
  await client.request("argus/input/enqueue", { text: "hello", source });
  await rig.stopGateway();
  await rig.deleteSession("main");
  await rig.startGateway();
  await eventually("its messages ended", () => said().length === 1);
  await rig.stopGateway();
  await rig.startGateway();
  rig.putSession("other", IDLE);
  await demand("other", "None");
  expect(rig.session("main")?.metadata.finalizers).toEqual(["argus.dev/gateway"]);
});
