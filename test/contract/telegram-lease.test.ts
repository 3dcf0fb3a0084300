import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer, connect as dial, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createKubeClient } from "#cluster/client.ts";
import { leases } from "#cluster/resources.ts";
import type { KubeClient } from "#cluster/types.ts";
import { silentLogger } from "#lib/logger.ts";
import { type ApiPeer, startPeer } from "#test/support/api-peer.ts";
import { BotRig } from "#test/support/bot-rig.ts";
import { ControllerProcess } from "#test/support/controller-process.ts";
import { eventually } from "#test/support/eventually.ts";
import { FaultProxy } from "#test/support/fault-proxy.ts";
import { freePort } from "#test/support/free-port.ts";
import { ADMIN } from "#test/support/gateway.ts";
import { freshNamespace } from "#test/support/namespaces.ts";
import { bundle } from "../../scripts/bundle.ts";

const LEASE = "argus-telegram";
/** Longer than a Lease lives that nobody renews. */
const LOST_MS = 18_000;
const WAIT_MS = 60_000;

let peer: ApiPeer;
let kube: KubeClient;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "argus-telegram-lease-"));
  await bundle(join(folder, "bundle"));
  peer = await startPeer();
  kube = await createKubeClient({ kubeconfig: peer.kubeconfig, logger: silentLogger() });
}, 120_000);
afterAll(async () => {
  await kube.close();
  await peer.close();
  await rm(folder, { recursive: true });
});

/** A namespace with the Lease as the chart makes it. */
async function withLease(): Promise<string> {
  const namespace = await freshNamespace(kube, "bots");
  const metadata = { name: LEASE, namespace };
  const lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata };
  await kube.create(leases, lease as never);
  return namespace;
}

/** One bot's own way to Telegram: which methods it asked for, and when. */
async function wayTo(url: string): Promise<{ server: Server; url: string; asked: Asked[] }> {
  const { hostname, port } = new URL(url);
  const asked: Asked[] = [];
  const server = createServer((near) => {
    const far = dial(Number(port), hostname);
    near.on("data", (bytes) => {
      const method = /^POST \/bot[^/]+\/(\w+)/.exec(bytes.toString("latin1"))?.[1];
      if (method) asked.push({ method, atMs: Date.now() });
    });
    for (const each of [near, far]) each.on("error", () => undefined);
    near.pipe(far).pipe(near);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { server, asked, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}
interface Asked {
  method: string;
  atMs: number;
}

interface Replica {
  bot: ControllerProcess;
  api: FaultProxy;
  way: Awaited<ReturnType<typeof wayTo>>;
}

async function replica(rig: BotRig, namespace: string, identity: string): Promise<Replica> {
  const api = await FaultProxy.start(peer);
  const way = await wayTo(rig.telegram.url);
  const program = join(folder, "bundle");
  const bot = new ControllerProcess({
    bundle: program,
    command: [join(program, "argus.js"), "telegram"],
    kubeconfig: api.kubeconfig,
    namespace,
    identity,
    environment: {
      ARGUS_TELEGRAM_LEASE: LEASE,
      ARGUS_TELEGRAM_TOKEN: rig.telegram.token,
      ARGUS_TELEGRAM_API: way.url,
      ARGUS_TELEGRAM_OWNERS: String(rig.ada.id),
      ARGUS_GATEWAY_URL: rig.gateway.url,
      ARGUS_TOKEN: ADMIN,
    },
  });
  return { bot, api, way };
}

async function end({ bot, api, way }: Replica): Promise<void> {
  bot.signal("SIGCONT");
  await bot.kill();
  await api.close();
  way.server.close();
}

/** Says m0, m1, … until the signal aborts; how many. */
async function talk({ telegram, ada }: BotRig, signal: AbortSignal): Promise<number> {
  for (let said = 0; ; said += 1) {
    if (signal.aborted) return said;
    telegram.people.say(ada, `m${said}`);
    // All of them reach the second bot within a minute, and a person may say 30 in one.
    await delay(3000, undefined, { signal }).catch(() => undefined);
  }
}

type Loss = "SIGTERM" | "kill -9" | "cut off" | "stopped";

function lose({ bot, api }: Replica, loss: Loss): void {
  if (loss === "SIGTERM") bot.signal("SIGTERM");
  if (loss === "kill -9") bot.signal("SIGKILL");
  if (loss === "cut off") api.freeze();
  if (loss === "stopped") bot.signal("SIGSTOP");
}

// At once: they mostly wait for Leases to run out.
test.concurrent.each<Loss>(["SIGTERM", "kill -9", "cut off", "stopped"])(
  "of two bots only the holder of the Lease talks to Telegram; when it is lost (%s) the other does, nothing runs twice and nothing is lost",
  async (loss) => {
    const rig = await BotRig.start();
    await rig.stopBot();
    const namespace = await withLease();
    const first = await replica(rig, namespace, "first");
    await first.bot.logged("Telegram bot ready");
    const second = await replica(rig, namespace, "second");
    const over = new AbortController();
    try {
      await eventually("the standby watches", () => second.api.openWatches >= 1, WAIT_MS);
      const talking = talk(rig, over.signal);
      await rig.heard(rig.ada, /^did m2$/);
      const others = second.way.asked.map(({ method }) => method);
      expect(others).toEqual(["getMe"]);
      lose(first, loss);
      await second.bot.logged("Telegram bot ready", WAIT_MS);
      const tookMs = Date.now();
      if (loss === "cut off" || loss === "stopped") {
        await delay(LOST_MS);
        first.api.heal();
        first.bot.signal("SIGCONT");
        await delay(4000);
      }
      over.abort();
      const said = await talking;
      // A delivery that the lost one had claimed waits 30 s, those behind it go once a second.
      await rig.heard(rig.ada, new RegExp(`did m${said - 1}$`), 0, 3 * WAIT_MS);
      expectOnce(rig, said, loss === "SIGTERM");
      // One request may be on its way when the Lease is lost.
      const late = first.way.asked.filter(({ atMs }) => atMs > tookMs).map(({ method }) => method);
      expect(late.length, late.join()).toBeLessThanOrEqual(1);
    } finally {
      over.abort();
      for (const each of [first, second]) await end(each);
      await rig.stop();
    }
  },
  300_000,
);

test("a bot that is posted to and its successor that asks take turns too: the webhook is there until the first has ended", async () => {
  const rig = await BotRig.start();
  await rig.stopBot();
  const namespace = await withLease();
  const listen = { host: "127.0.0.1", port: await freePort() };
  await rig.startBot({
    webhook: { url: `http://127.0.0.1:${listen.port}/hook`, listen },
    lease: { kube, namespace, name: LEASE, identity: "posted" },
  });
  rig.telegram.people.say(rig.ada, "one");
  await rig.heard(rig.ada, /^did one$/, 0, WAIT_MS);
  const second = await replica(rig, namespace, "asks");
  try {
    await eventually("the standby watches", () => second.api.openWatches >= 1, WAIT_MS);
    rig.telegram.people.say(rig.ada, "two");
    await rig.heard(rig.ada, /^did two$/, 0, WAIT_MS);
    expect(second.way.asked.map(({ method }) => method)).toEqual(["getMe"]);
    await rig.stopBot();
    rig.telegram.people.say(rig.ada, "three");
    await rig.heard(rig.ada, /^did three$/, 0, WAIT_MS);
    expect(second.way.asked.map(({ method }) => method)).toContain("deleteWebhook");
    expect(rig.bridges.get("main")?.started.map(({ text }) => text)).toEqual([
      "one",
      "two",
      "three",
    ]);
  } finally {
    await end(second);
    await rig.stop();
  }
}, 300_000);

test.concurrent("a bot that is posted to shuts its door when it loses the Lease, and opens it when it has it again", async () => {
  const rig = await BotRig.start();
  await rig.stopBot();
  const namespace = await withLease();
  const api = await FaultProxy.start(peer);
  const way = await createKubeClient({ kubeconfig: api.kubeconfig, logger: silentLogger() });
  const listen = { host: "127.0.0.1", port: await freePort() };
  const health = { host: "127.0.0.1", port: await freePort() };
  const isReady = async () => (await fetch(`http://127.0.0.1:${health.port}/readyz`)).ok;
  const isOpen = () =>
    fetch(`http://127.0.0.1:${listen.port}/`).then(
      () => true,
      () => false,
    );
  try {
    await rig.startBot({
      webhook: { url: `http://127.0.0.1:${listen.port}/hook`, listen },
      lease: { kube: way, namespace, name: LEASE, identity: "posted" },
      listen: health,
    });
    rig.telegram.people.say(rig.ada, "one");
    await rig.heard(rig.ada, /^did one$/, 0, WAIT_MS);
    expect(await isReady()).toBe(true);
    api.freeze();
    await eventually("its door is shut", async () => !(await isOpen()), WAIT_MS);
    expect(await isReady()).toBe(false);
    rig.telegram.people.say(rig.ada, "two");
    api.heal();
    await rig.heard(rig.ada, /^did two$/, 0, 2 * WAIT_MS);
    await eventually("it is ready", isReady, WAIT_MS);
    expect(rig.bridges.get("main")?.started.map(({ text }) => text)).toEqual(["one", "two"]);
  } finally {
    await rig.stop();
    await way.close();
    await api.close();
  }
}, 300_000);

/** Each message ran once, in order; each answer came, once or once more with the mark. */
function expectOnce(rig: BotRig, said: number, inOrder: boolean): void {
  const ran = rig.bridges.get("main")?.started.map(({ text }) => text);
  expect(ran).toEqual(Array.from({ length: said }, (_, number) => `m${number}`));
  const texts = rig.texts(rig.ada);
  for (let number = 0; number < said; number += 1) {
    const plain = texts.filter((text) => text === `did m${number}`).length;
    const marked = texts.filter((text) => text === `↻ did m${number}`).length;
    expect({ number, plain: plain <= 1, marked: marked <= (inOrder ? 0 : 1) }).toEqual({
      number,
      plain: true,
      marked: true,
    });
    expect(plain + marked).toBeGreaterThanOrEqual(1);
  }
}
