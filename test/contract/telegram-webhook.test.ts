import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, expect, test } from "vitest";
import { secretOf } from "#bot/inbound/webhook.ts";
import { BotRig } from "#test/support/bot-rig.ts";
import { eventually } from "#test/support/eventually.ts";
import { freePort } from "#test/support/free-port.ts";
import { hasProxy, startTlsProxy } from "#test/support/tls-proxy.ts";

let rig: BotRig;
let url: string;
beforeEach(async () => {
  const port = await freePort();
  url = `http://127.0.0.1:${port}/telegram/hook`;
  rig = await BotRig.start({ webhook: { url, listen: { host: "127.0.0.1", port } } });
});
afterEach(async () => {
  await rig.stop();
});

const started = () => rig.bridges.get("main")?.started.map(({ text }) => text) ?? [];
const secret = () => ({ "x-telegram-bot-api-secret-token": secretOf(rig.telegram.token) });
const post = async (body: unknown, headers: Record<string, string> = secret(), to = url) => {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  const { status } = await fetch(to, { method: "POST", headers, body: text });
  return status;
};
let nextId = 900_000_000;
const update = (text: string, more: object = {}) => ({
  update_id: nextId++,
  message: {
    message_id: nextId,
    date: 1,
    chat: { id: rig.ada.id, type: "private" },
    from: rig.ada.user,
    text,
    ...more,
  },
});

test("what people write comes by the webhook and is answered; the secret proves that it is Telegram's", async () => {
  rig.telegram.people.say(rig.ada, "hello");
  await rig.heard(rig.ada, /did hello/);
  expect(rig.telegram.calls.some(({ method }) => method === "getUpdates")).toBe(false);
  const forged = update("forged");
  const cases: [status: number, asked: Promise<number>][] = [
    [401, post(forged, {})],
    [401, post(forged, { "x-telegram-bot-api-secret-token": "wrong" })],
    [404, post(forged, secret(), url.replace("hook", "other"))],
    [400, post("no json")],
    [400, post({ update_id: "1" })],
    [413, post(JSON.stringify({ update_id: 1, text: "x".repeat(1024 * 1024) }))],
  ];
  for (const [status, asked] of cases) expect(await asked).toBe(status);
  expect((await fetch(url)).status).toBe(405);
  expect(started()).toEqual(["hello"]);
}, 60_000);

test("an update is answered with 200 only when its message is on the disk, and a repeat is the same message", async () => {
  const told = update("once");
  expect(await post(told)).toBe(200);
  expect(await post(told)).toBe(200);
  await rig.heard(rig.ada, /did once/);
  await rig.gateway.stopGateway();
  rig.telegram.people.say(rig.ada, "while the gateway is away");
  // Long enough for the bot to be at it; it is not confirmed in either case.
  await delay(500);
  await rig.stopBot();
  expect(rig.telegram.pending()).toHaveLength(1);
  await rig.gateway.startGateway();
  await rig.startBot();
  await rig.heard(rig.ada, /did while the gateway is away/);
  // Another process of the bot knows it by the gateway's word.
  expect(await post(told)).toBe(200);
  await eventually("confirmed", () => rig.telegram.pending().length === 0);
  expect(started()).toEqual(["once", "while the gateway is away"]);
}, 60_000);

test("updates that are posted side by side keep their order, and an album is one message", async () => {
  const many = Array.from({ length: 5 }, (_, index) => update(`number ${index}`));
  const statuses = await Promise.all(many.toReversed().map((each) => post(each)));
  expect(new Set(statuses)).toEqual(new Set([200]));
  await rig.heard(rig.ada, /did number 4/);
  expect(started()).toEqual(many.map(({ message }) => message.text));
  const piece = (caption?: string) =>
    update("", {
      text: undefined,
      caption,
      media_group_id: "7",
      photo: [{ file_id: "f", file_unique_id: `u${nextId}`, width: 1, height: 1 }],
    });
  const [first, second] = [piece("two pictures"), piece()];
  const later = new Promise((resolve) => setTimeout(resolve, 200)).then(() => post(second));
  expect(await Promise.all([post(first), later])).toEqual([200, 200]);
  await eventually("its turn", () => started().length === 6);
  expect(started()[5]).toContain("two pictures");
}, 60_000);

test("a bot that asks for its updates takes an old webhook away; one with a webhook sets it again", async () => {
  await rig.stopBot();
  await rig.startBot({ webhook: undefined });
  rig.telegram.people.say(rig.ada, "asked for");
  await rig.heard(rig.ada, /did asked for/);
  await rig.stopBot();
  await rig.startBot();
  rig.telegram.people.say(rig.ada, "posted");
  await rig.heard(rig.ada, /did posted/);
  expect(started()).toEqual(["asked for", "posted"]);
}, 60_000);

test("a webhook that an ending bot sets again is taken away again; another one is left, and health says so", async () => {
  rig.telegram.people.say(rig.ada, "posted");
  await rig.heard(rig.ada, /did posted/);
  await rig.stopBot();
  const listen = { host: "127.0.0.1", port: await freePort() };
  await rig.startBot({ webhook: undefined, listen });
  const telegram = `${rig.telegram.url}/bot${rig.telegram.token}`;
  const set = async (hook: string) => {
    const asked = `${telegram}/setWebhook?url=${encodeURIComponent(hook)}`;
    expect((await fetch(asked)).status).toBe(200);
  };
  for (const words of ["the first", "the second"]) {
    await eventually("it asks", () => rig.telegram.polled());
    await set(url);
    rig.telegram.people.say(rig.ada, words);
    await rig.heard(rig.ada, new RegExp(`did ${words}`));
  }
  await eventually("it asks", () => rig.telegram.polled());
  await set("http://127.0.0.1:9/of-somebody");
  const health = async () => (await fetch(`http://127.0.0.1:${listen.port}/readyz`)).text();
  await eventually("health says so", async () => (await health()).includes("a webhook is set"));
}, 60_000);

test.skipIf(!hasProxy())(
  "TLS may end in front of the bot: what is posted there is answered",
  async () => {
    const listen = { host: "127.0.0.1", port: await freePort() };
    const folder = await mkdtemp(join(tmpdir(), "argus-webhook-"));
    const target = `${listen.host}:${listen.port}`;
    const proxy = await startTlsProxy(folder, { target, idleSeconds: 60 });
    try {
      await rig.stopBot();
      rig.telegram.trust(proxy.ca);
      await rig.startBot({ webhook: { url: `${proxy.url}/hook`, listen } });
      rig.telegram.people.say(rig.ada, "by TLS");
      await rig.heard(rig.ada, /did by TLS/);
    } finally {
      proxy.stop();
      await rm(folder, { recursive: true });
    }
  },
  60_000,
);
