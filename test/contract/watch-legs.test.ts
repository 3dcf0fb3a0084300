import { setTimeout as delay } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { createKubeClient } from "#cluster/client.ts";
import { startInformer } from "#cluster/informer.ts";
import { configMaps } from "#cluster/resources.ts";
import type { KubeClient } from "#cluster/types.ts";
import { plannedSeconds } from "#cluster/watch-leg.ts";
import { silentLogger } from "#lib/logger.ts";
import { type ApiPeer, startLocalPeer } from "../support/api-peer.ts";
import { eventually } from "../support/eventually.ts";
import { type Fault, RandomFaults, type Strike } from "../support/fault-proxy/faults.ts";
import { FaultProxy } from "../support/fault-proxy.ts";
import { freshNamespace } from "../support/namespaces.ts";

let peer: ApiPeer;
let kube: KubeClient;
beforeAll(async () => {
  peer = await startLocalPeer();
  kube = await createKubeClient({ kubeconfig: peer.kubeconfig, logger: silentLogger() });
});
afterAll(async () => {
  await kube.close();
  await peer.close();
});

let ends: (() => Promise<void>)[];
beforeEach(() => {
  ends = [];
});
afterEach(async () => {
  for (const end of ends.reverse()) await end();
});

async function start(http2 = true) {
  const next: Fault[] = [];
  const namespace = await freshNamespace(kube, "legs");
  const proxy = await FaultProxy.start(peer, { http2, decide: () => next.shift() });
  ends.push(() => proxy.close());
  const logger = silentLogger();
  const own = await createKubeClient({ kubeconfig: proxy.kubeconfig, logger });
  ends.push(() => own.close());
  const abort = new AbortController();
  const informer = startInformer(own, configMaps, { namespace, logger }, abort.signal);
  ends.push(async () => {
    abort.abort(new Error("over"));
    await informer.closed;
  });
  const told: string[] = [];
  informer.onChange((key, _, change) => {
    const name = key.slice(namespace.length + 1);
    if (name !== "kube-root-ca.crt") told.push(`${change} ${name}`);
  });
  await informer.synced();
  const create = (name: string) =>
    kube.create(configMaps, {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name, namespace },
    });
  return { proxy, next, namespace, informer, told, create };
}

test("two watches on two connections, which are not planned to end together", async () => {
  const { proxy } = await start();
  await eventually("both", () => proxy.openWatches === 2);
  const watches = proxy.requests.filter(({ verb }) => verb === "watch");
  expect(new Set(watches.map(({ connection }) => connection)).size).toBe(2);
  const [first = 0, second = 0] = watches.map(({ query }) => Number(query.get("timeoutSeconds")));
  expect(Math.abs(first - second)).toBeGreaterThanOrEqual(29);
});

test("over HTTP/1.1, where each watch costs a connection, there is one", async () => {
  const { proxy, create, told } = await start(false);
  await create("seen");
  await eventually("the change", () => told.length === 1);
  expect(proxy.openWatches).toBe(1);
});

test("what both tell is told once", async () => {
  const { proxy, create, told, namespace, informer } = await start();
  await eventually("both", () => proxy.openWatches === 2);
  for (const name of ["a", "b", "c"]) await create(name);
  await kube.delete({ resource: configMaps, namespace, name: "b" });
  await create("d");
  await eventually("the last one", () => informer.get(`${namespace}/d`));
  expect(told).toEqual(["added a", "added b", "added c", "deleted b", "added d"]);
});

const FAULTS: { name: string; strike: Strike; next?: Fault }[] = [
  { name: "EOF", strike: "end" },
  { name: "RST", strike: "reset" },
  { name: "a half-open connection", strike: "silent" },
  { name: "410 as an event", strike: "expired" },
  { name: "a line that is no event", strike: "garbage" },
  { name: "half a line", strike: "halfLine" },
  { name: "410", strike: "end", next: { kind: "status", status: 410 } },
  { name: "429", strike: "end", next: { kind: "status", status: 429, retryAfterSeconds: 2 } },
  { name: "500", strike: "end", next: { kind: "status", status: 500 } },
  { name: "503", strike: "reset", next: { kind: "status", status: 503 } },
];

/** Seeds of which one strikes the older stream, which lists, and one the other. */
const LEGS = [7, 1];

test.each(FAULTS.flatMap((fault) => LEGS.map((leg) => ({ ...fault, leg }))))(
  "one leg meets $name (seed $leg): no moment without a watch, and what happens is told",
  async ({ strike, next: fault, leg }) => {
    const { proxy, next, create, told } = await start();
    await eventually("both", () => proxy.openWatches === 2);
    const fromMs = Date.now();
    if (fault) next.push(fault);
    proxy.strike(strike, new RandomFaults(leg));
    await create("meanwhile");
    await eventually("the change is told by the other leg", () => told.length > 0, 3000);
    if (strike !== "silent") await eventually("both again", () => proxy.openWatches === 2, 15_000);
    await create("afterwards");
    await eventually("the next change", () => told.length > 1, 3000);
    expect(proxy.blindShare(fromMs, Date.now())).toBe(0);
    expect(told).toEqual(["added meanwhile", "added afterwards"]);
  },
);

test("a leg that meets 410 again after a quiet while has not both ended", async () => {
  const { proxy, next } = await start();
  await eventually("both", () => proxy.openWatches === 2);
  const fromMs = Date.now();
  for (const seed of [...LEGS, ...LEGS]) {
    next.push({ kind: "status", status: 410 });
    proxy.strike("end", new RandomFaults(seed));
    await eventually("the refusal", () => next.length === 0);
    await eventually("both again", () => proxy.openWatches === 2, 15_000);
    // Longer than a watch that counts as a failure.
    await delay(1200);
  }
  expect(proxy.blindShare(fromMs, Date.now())).toBe(0);
});

test("a list that both find too old is made anew", async () => {
  const { proxy, next, create, told, namespace, informer } = await start();
  await eventually("both", () => proxy.openWatches === 2);
  next.push({ kind: "status", status: 410 }, { kind: "status", status: 410 });
  proxy.cutAll("reset");
  await create("meanwhile");
  await eventually("the change", () => informer.get(`${namespace}/meanwhile`), 15_000);
  await eventually("both again", () => proxy.openWatches === 2, 15_000);
  await create("afterwards");
  await eventually("the next change", () => informer.get(`${namespace}/afterwards`));
  expect(told).toEqual(["added meanwhile", "added afterwards"]);
  const lists = proxy.requests.filter(({ query }) => query.has("sendInitialEvents"));
  // The new list may itself meet the second refusal.
  expect(lists.length).toBeGreaterThan(1);
});

test("planned ends keep apart, whatever the dice say", () => {
  for (let other = 0; other <= 600; other += 7.3) {
    for (let die = 0; die <= 1; die += 0.01) {
      const seconds = plannedSeconds(other, () => die);
      expect(seconds).toBeGreaterThanOrEqual(300);
      expect(seconds).toBeLessThanOrEqual(600);
      expect(Math.abs(seconds - other)).toBeGreaterThanOrEqual(30);
    }
  }
});
