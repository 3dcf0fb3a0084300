import { afterEach, beforeEach, expect, test } from "vitest";
import { addDelivery } from "#gateway/state/deliveries.ts";
import { ADAPTER_ACCOUNT, CHANNEL, SUPERSEDED } from "#protocol/channel.ts";
import { AMBIGUOUS_WAIT_MS } from "#protocol/delivery.ts";
import { emptyDocument, type SessionDocument } from "#protocol/session-document.ts";
import { AdapterPeer } from "#test/support/adapter-peer.ts";
import { eventually } from "#test/support/eventually.ts";
import { ADMIN, GatewayRig, NAMESPACE, podToken } from "#test/support/gateway.ts";
import { WsClient } from "#test/support/ws-client.ts";

const LIMIT = 2 * 1024 * 1024;
let rig: GatewayRig;
const peers: AdapterPeer[] = [];
beforeEach(async () => {
  rig = await GatewayRig.start();
});
afterEach(async () => {
  for (const peer of peers.splice(0)) peer.close();
  await rig.stop();
});

/** Deliveries as `<id>@<chat>`, waiting in the session since `now`. */
function documentOf(name: string, ids: string[], now = Date.now()): SessionDocument {
  const facts = { inputId: null, threadId: null, turnId: null, canRetry: false, limit: LIMIT };
  return ids.reduce((document, word) => {
    const [id = "", chatKey = ""] = word.split("@");
    const target = { channel: "hook", chatKey };
    const more = { id, target, kind: "message", text: `text of ${id}`, now } as const;
    return addDelivery(document, { ...facts, ...more }).document;
  }, emptyDocument(name));
}

/** A gateway that starts with these deliveries, by session. */
async function startWith(sessions: Record<string, string[]>, now?: number): Promise<void> {
  await rig.stopGateway();
  const documents = Object.entries(sessions).map(([name, ids]) => {
    const uid = rig.putSession(name).metadata.uid ?? "";
    return [uid, documentOf(name, ids, now)] as const;
  });
  await rig.seed(new Map(documents));
  await rig.startGateway();
}

async function greet(params: Parameters<typeof AdapterPeer.greet>[2] = {}): Promise<AdapterPeer> {
  const peer = await AdapterPeer.greet(rig.url, ADMIN, params);
  peers.push(peer);
  return peer;
}

async function client(session = "main"): Promise<WsClient> {
  return await WsClient.connect({ url: rig.url, token: ADMIN, query: { session } });
}

test("only the admin and pods of the adapters' account get in", async () => {
  rig.putSession("main");
  const { token: sessionPod } = await rig.putPod("main");
  const account = (name: string, namespace = NAMESPACE) => {
    const token = podToken(`${namespace}/${name}`);
    const user = `system:serviceaccount:${namespace}:${name}`;
    rig.kube.tokens.set(token, { podUid: `pod-of-${name}`, user });
    return token;
  };
  const made = await fetch(`${rig.url}/tokens`, {
    method: "POST",
    headers: { authorization: `Bearer ${ADMIN}`, "content-type": "application/json" },
    body: JSON.stringify({ sessions: ["main"] }),
  });
  const { token: ofClient } = (await made.json()) as { token: string };
  const cases: [what: string, token: string, opens: boolean][] = [
    ["the admin", ADMIN, true],
    ["the adapters' account", account(ADAPTER_ACCOUNT), true],
    ["that account of another namespace", account(ADAPTER_ACCOUNT, "other"), false],
    ["another account", account("argus-controller"), false],
    ["a token that the API server refuses", podToken("stranger"), false],
    ["a session's pod", sessionPod, false],
    ["a session's client", ofClient, false],
    ["a wrong word", "wrong", false],
    ["nothing", "", false],
  ];
  for (const [what, token, opens] of cases) {
    const answer = await AdapterPeer.greet(rig.url, token).then(
      (peer) => {
        peer.close();
        return true;
      },
      (error: { code: string }) => error.code !== "Unauthorized",
    );
    expect(answer, what).toBe(opens);
  }
});

test("a chat's deliveries come in order and one at a time, chats side by side", async () => {
  await startWith({ main: ["a1@a", "a2@a", "b1@b"], other: ["c1@c"] });
  const peer = await greet();
  const first = [await peer.next(), await peer.next(), await peer.next()];
  const got = first.map(({ sessionId, delivery }) => `${sessionId} ${delivery.id}`);
  expect(got.toSorted()).toEqual(["main a1", "main b1", "other c1"]);
  const waiting = peer.next();
  await peer.sending("a1", 0, 2);
  const { delivery } = await peer.outcome("a1", 0, { state: "sent", ref: "m1" });
  expect(delivery).toMatchObject({ sent: ["m1"], parts: 2 });
  await peer.sending("a1", 1, 2);
  const last = await peer.outcome("a1", 1, { state: "sent", ref: "m2" });
  expect(last.ended).toMatchObject({ id: "a1", state: "delivered", ref: "m1" });
  expect((await waiting).delivery.id).toBe("a2");
});

test("a repeat of a step changes nothing; a step out of turn is refused", async () => {
  await startWith({ main: ["a@a"] });
  const peer = await greet();
  await peer.next();
  await expect(peer.outcome("a", 0, { state: "sent", ref: "r" })).rejects.toMatchObject({
    code: "Conflict",
  });
  await expect(peer.sending("a", 1, 2)).rejects.toMatchObject({ code: "Conflict" });
  await peer.sending("a", 0, 2);
  await peer.sending("a", 0, 2);
  await peer.outcome("a", 0, { state: "sent", ref: "r0" });
  const again = await peer.outcome("a", 0, { state: "sent", ref: "r0" });
  expect(again.delivery?.sent).toEqual(["r0"]);
  await expect(peer.sending("nothing", 0)).rejects.toMatchObject({ code: "Conflict" });
  await expect(peer.sending("a", 1, 200)).rejects.toMatchObject({ code: "InvalidInput" });
});

test("a restarted adapter takes its claims back at once; its former process can do nothing any more", async () => {
  await startWith({ main: ["a@a", "b@b"] });
  const former = await greet();
  await former.next();
  await former.next();
  await former.sending("b", 0);
  const next = await greet();
  expect(next.hello.epoch).toBeGreaterThan(former.hello.epoch);
  expect(await former.gone).toMatchObject({ code: "Conflict", message: SUPERSEDED });
  expect((await next.next()).delivery.id).toBe("a");
  next.next().catch(() => undefined);
  const back = greet({ epoch: former.hello.epoch });
  await expect(back).rejects.toMatchObject({ code: "Conflict", message: SUPERSEDED });
  // Nobody knows whether b arrived: it waits for its second try.
  const ws = await client();
  const list = await eventually("b waits", async () => {
    const { deliveries } = await ws.request("argus/delivery/list");
    const b = (deliveries as { id: string; again: boolean; notBefore: number }[])[1];
    return b?.again && b;
  });
  expect(list.notBefore - Date.now()).toBeGreaterThan(AMBIGUOUS_WAIT_MS - 10_000);
  await ws.close();
});

test("a process that lost its connection goes on under its epoch, over a restart of the gateway too", async () => {
  await startWith({ main: ["a@a", "b@b"] });
  const peer = await greet();
  const { epoch } = peer.hello;
  await peer.next();
  await peer.next();
  await peer.sending("a", 0);
  await rig.stopGateway();
  await rig.startGateway();
  const again = await greet({ epoch, holding: ["a", "gone"] });
  expect(again.hello).toMatchObject({ epoch, held: [{ id: "a", sending: { mode: "send" } }] });
  const { ended } = await again.outcome("a", 0, { state: "sent", ref: "r" });
  expect(ended).toMatchObject({ state: "delivered" });
  // It did not name b: the answer to its claim was lost, so it is offered again.
  expect((await again.next()).delivery.id).toBe("b");
  expect(await again.renew("b", "a")).toEqual({ lost: ["a"] });
  expect(await again.release("b")).toEqual({ lost: [] });
  expect((await again.next()).delivery.id).toBe("b");
});

test("a pause that the channel asked for is kept, over a restart too, and ends by itself", async () => {
  await startWith({ main: ["a@a"] });
  const peer = await greet();
  const { epoch } = peer.hello;
  await peer.next();
  await peer.sending("a", 0);
  const until = Date.now() + 1500;
  const slow = { state: "notSent", reason: "429", retryAfterMs: 1500 } as const;
  expect(await peer.outcome("a", 0, slow)).toEqual({});
  await rig.stopGateway();
  await rig.startGateway();
  const again = await greet({ epoch });
  const { delivery } = await again.next();
  expect(Date.now()).toBeGreaterThanOrEqual(until);
  expect(delivery).toMatchObject({ id: "a", attempts: 1, reason: "429" });
});

test("another adapter of the channel gets what is free, never what is claimed", async () => {
  await startWith({ main: ["a@a", "b@b"] });
  const one = await greet();
  expect((await one.next()).delivery.id).toBe("a");
  const two = await greet({ adapter: "two" });
  expect((await two.next()).delivery.id).toBe("b");
  const waiting = two.next();
  await one.release("a");
  expect((await waiting).delivery.id).toBe("a");
  await expect(one.sending("a", 0)).rejects.toMatchObject({ code: "Conflict" });
  const other = await greet({ adapter: "three", channel: "elsewhere" });
  let isAnswered = false;
  other.next().then(
    () => (isAnswered = true),
    () => undefined,
  );
  await two.renew("a");
  expect(isAnswered).toBe(false);
});

test("a refusal is a dead letter with its reason; a person sends it again or gives it up", async () => {
  await startWith({ main: ["a@a", "b@b"] });
  const peer = await greet();
  await peer.next();
  const { ended } = await peer.outcome("a", 0, { state: "refused", reason: "the chat is gone" });
  expect(ended).toMatchObject({ state: "dead", reason: "the chat is gone", text: "text of a" });
  const ws = await client();
  await ws.request("argus/delivery/drop", { deliveryId: "b" });
  await ws.request("argus/delivery/retry", { deliveryId: "a" });
  expect((await peer.next()).delivery).toMatchObject({ id: "a", text: "text of a" });
  expect(await ws.ask("argus/delivery/drop", { deliveryId: "a" })).toMatchObject({
    error: { code: -32001, message: expect.stringContaining("is being sent by one") },
  });
  expect(await ws.ask("argus/delivery/retry", { deliveryId: "no" })).toMatchObject({
    error: { code: -32602 },
  });
  const { deliveries, ended: over } = await ws.request("argus/delivery/list");
  expect(deliveries).toMatchObject([{ id: "a", waitsFor: "" }]);
  expect(over).toMatchObject([{ id: "b", state: "dead", reason: "given up by a person" }]);
  await ws.close();
});

test("what nobody sent for a day is given up by the gateway itself, with its reason", async () => {
  const soon = Date.now() - 24 * 60 * 60 * 1000 + 3000;
  await startWith({ main: ["a@a"] }, soon);
  const ws = await client();
  const { deliveries } = await ws.request("argus/delivery/list");
  expect(deliveries).toMatchObject([{ id: "a", waitsFor: expect.stringContaining("no adapter") }]);
  const ended = await eventually("it is given up", async () => {
    const list = (await ws.request("argus/delivery/list")) as { ended: unknown[] };
    return list.ended.length > 0 && list.ended;
  });
  expect(ended).toMatchObject([
    { id: "a", state: "dead", reason: expect.stringContaining("could not be sent for 24 hours") },
  ]);
  await ws.close();
});

test("a person's message goes to the named session once; its end is told to the channel", async () => {
  rig.putSession("main");
  const peer = await greet();
  const message = { sessionId: "main", chatKey: "a", key: "m1", text: "hello" };
  const taken = await peer.input(message);
  expect(taken).toMatchObject({ sessionId: "main", ahead: 0, repeated: false });
  expect(await peer.input(message)).toMatchObject({ inputId: taken.inputId, repeated: true });
  const ws = await client();
  const { inputs } = await ws.request("argus/input/list");
  expect(inputs).toMatchObject([
    { key: "hook:m1", text: "hello", source: { channel: "hook", chatKey: "a" } },
  ]);
  await ws.request("argus/input/cancel", { inputId: taken.inputId });
  await eventually("the end is told", () => peer.notices.length > 0);
  expect(peer.notices).toMatchObject([
    { method: CHANNEL.ended, params: { chatKey: "a", key: "m1", state: "cancelled" } },
  ]);
  const refusals: [object, string][] = [
    [{ ...message, sessionId: "none" }, "NotFound"],
    [{ chatKey: "a", key: "m2", text: "unbound" }, "NotFound"],
    [{ ...message, key: "m3", text: " " }, "InvalidInput"],
    [{ ...message, key: "m4", text: "x".repeat(70_000) }, "TooLarge"],
    [{ ...message, key: "k".repeat(500) }, "InvalidInput"],
  ];
  for (const [params, code] of refusals)
    await expect(peer.input(params)).rejects.toMatchObject({ code });
  await ws.close();
});

test("what is not the protocol ends the connection with a reason", async () => {
  const early = await AdapterPeer.open(rig.url, ADMIN);
  early.next().catch(() => undefined);
  expect((await early.gone).message).toContain("The first frame is channel/hello");
  const wrong = greet({ channel: "Not A Name" });
  await expect(wrong).rejects.toMatchObject({ code: "InvalidInput" });
});

test("a thousand sessions, two adapters: each delivery is sent once", async () => {
  const names = Array.from({ length: 1000 }, (_, index) => `s${index}`);
  await startWith(Object.fromEntries(names.map((name) => [name, [`${name}-d@${name}`]])));
  const two = [await greet(), await greet({ adapter: "two" })];
  const sent: string[] = [];
  const worker = async (peer: AdapterPeer) => {
    while (sent.length < names.length) {
      const next = await Promise.race([peer.sendOne(), all.promise]);
      if (next === undefined) return;
      sent.push(next);
      if (sent.length >= names.length) all.resolve(undefined);
    }
  };
  const all = Promise.withResolvers<undefined>();
  await Promise.all(
    two.flatMap((peer) => Array.from({ length: 16 }, () => worker(peer).catch(() => undefined))),
  );
  expect(new Set(sent).size).toBe(1000);
  expect(sent).toHaveLength(1000);
});
