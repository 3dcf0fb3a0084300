import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { createKubeClient } from "#cluster/client.ts";
import { configMaps } from "#cluster/resources.ts";
import type { KubeClient, KubeObject } from "#cluster/types.ts";
import { StoredState } from "#gateway/state/document.ts";
import { openConfigMapStore } from "#gateway/store/configmap.ts";
import type { Store } from "#gateway/store/store.ts";
import { silentLogger } from "#lib/logger.ts";
import { whyNoControlPlane } from "#test/cluster/binaries.ts";
import { startControlPlane } from "#test/cluster/control-plane.ts";
import { MemoryStore } from "#test/fakes/memory-store.ts";
import { type LocalApiServer, startLocalApiServer } from "#test/support/api-server.ts";
import { FaultProxy } from "#test/support/fault-proxy.ts";
import { storeContract } from "./store.ts";

const namespace = "default";
const logger = silentLogger();
const never = () => new AbortController().signal;

async function backEnd(server: { kubeconfig: string; stop(): Promise<void> }) {
  const kube = await createKubeClient({ kubeconfig: server.kubeconfig, logger });
  const open = () => openConfigMapStore({ kube, namespace, name: "the test" }, never());
  return {
    place: async () => ({ open, clear: () => removeAll(kube) }),
    close: async () => {
      await kube.close();
      await server.stop();
    },
  };
}

async function removeAll(kube: KubeClient): Promise<void> {
  const { items } = await kube.list<KubeObject>(configMaps, { namespace });
  const ours = items.filter(({ metadata }) => metadata.name.startsWith("argus-state"));
  for (const { metadata } of ours) {
    await kube.delete({ resource: configMaps, namespace, name: metadata.name });
  }
}

storeContract({
  name: "memory",
  histories: 100,
  start: async () => ({
    place: async () => {
      const store = new MemoryStore();
      return { open: async () => store, clear: async () => undefined };
    },
    close: async () => undefined,
  }),
});

storeContract({
  name: "ConfigMaps of the local API server",
  histories: 5,
  start: async () => backEnd(await startLocalApiServer()),
});

const reason = whyNoControlPlane();
if (reason) test.skip(`ConfigMaps of a real API server (${reason})`, () => {});
else {
  storeContract({
    name: "ConfigMaps of a real API server",
    histories: 5,
    start: async () => {
      const plane = await startControlPlane({ controllerManager: false });
      return backEnd({ kubeconfig: plane.kubeconfig(), stop: () => plane.close() });
    },
  });
}

let api: LocalApiServer;
let proxy: FaultProxy;
let kube: KubeClient;
let direct: KubeClient;
let store: Store;
beforeAll(async () => {
  api = await startLocalApiServer();
  direct = await createKubeClient({ kubeconfig: api.kubeconfig, logger });
});
afterAll(async () => {
  await direct.close();
  await api.stop();
});
beforeEach(async () => {
  proxy = await FaultProxy.start(api);
  kube = await createKubeClient({ kubeconfig: proxy.kubeconfig, logger });
  store = await openConfigMapStore({ kube, namespace, name: "the first" }, never());
});
afterEach(async () => {
  proxy.decide = () => undefined;
  await store.close();
  await kube.close();
  await proxy.close();
  await removeAll(direct);
});

const isWrite = ({ method, path }: { method: string; path: string }) =>
  method !== "GET" && path.includes("/configmaps");

const KIND = { what: "The list", schema: listSchema(), empty: [] as number[] };
function listSchema() {
  return { safeParse: (value: unknown) => ({ success: true, data: value }) } as never;
}

const FAULTS = [
  { kind: "reset" },
  { kind: "lost" },
  { kind: "end" },
  { kind: "status", status: 500 },
  { kind: "status", status: 503 },
  { kind: "status", status: 429, retryAfterSeconds: 1 },
  { kind: "cut", how: "reset", afterBytes: 20 },
] as const;

test("connections cut before and after the effect of a write: nothing lost, nothing twice", async () => {
  const state = await StoredState.open<number[]>(store, "list", KIND);
  let count = 0;
  proxy.decide = (request) => {
    if (!isWrite(request)) return undefined;
    count += 1;
    // Every second write meets a fault, each kind in turn.
    return count % 2 === 0 ? FAULTS[(count / 2) % FAULTS.length] : undefined;
  };
  const acknowledged: number[] = [];
  for (let round = 0; round < 30; round += 1) {
    const values = [round * 2, round * 2 + 1];
    const answers = values.map((value) =>
      state.update((list) => [...list, value]).then(() => acknowledged.push(value)),
    );
    await Promise.all(answers);
  }
  proxy.decide = () => undefined;
  expect(acknowledged).toEqual(Array.from({ length: 60 }, (_, index) => index));
  expect((await store.read("list"))?.body).toEqual(acknowledged);
  const again = await openConfigMapStore({ kube, namespace, name: "the next" }, never());
  expect(await again.read("list")).toMatchObject({ body: acknowledged });
  await again.close();
});

test("a create and a removal whose answers are lost are settled by looking", async () => {
  for (const fault of [{ kind: "lost" }, { kind: "reset" }] as const) {
    let left = 1;
    proxy.decide = (request) => (isWrite(request) && left-- > 0 ? fault : undefined);
    expect(await store.commit("made", 0, { n: 1 })).toBe(1);
    left = 1;
    await store.remove("made", 1);
    expect(await store.read("made")).toBeUndefined();
    expect(await store.list()).toEqual([]);
  }
});

test("an API server that is away for long: a clear error, and the next commit goes on from the truth", async () => {
  await store.close();
  store = await openConfigMapStore({ kube, namespace, name: "hasty", patienceMs: 300 }, never());
  const state = await StoredState.open<number[]>(store, "list", KIND);
  await state.update(() => [1]);
  // The write has its effect, and then nobody answers any more.
  proxy.decide = (request) =>
    isWrite(request) ? { kind: "lost" } : { kind: "status", status: 503 };
  const failing = state.update((list) => [...list, 2]);
  await expect(failing).rejects.toMatchObject({
    code: "Unavailable",
    message: expect.stringContaining("Nothing was accepted"),
  });
  proxy.decide = () => undefined;
  expect(state.current).toEqual([1]);
  await state.update((list) => [...list, 3]);
  expect(await store.read("list")).toEqual({ version: 2, body: [1, 3] });
});

test("commands that wait for a slow API server become one write", async () => {
  const state = await StoredState.open<number[]>(store, "list", KIND);
  await state.update(() => []);
  const before = proxy.requests.length;
  proxy.decide = () => ({ kind: "delay", ms: 50 });
  const all = Array.from({ length: 100 }, (_, value) => state.update((list) => [...list, value]));
  await Promise.all(all);
  expect(proxy.requests.slice(before).filter(isWrite).length).toBeLessThanOrEqual(2);
  expect((await store.read("list"))?.body).toHaveLength(100);
});

test("a second gateway takes the state over; the first writes nothing more and ends by name", async () => {
  await store.commit("known", 0, { by: "first" });
  await store.commit("removed", 0, {});
  const second = await openConfigMapStore(
    { kube: direct, namespace, name: "host-b, process 7" },
    never(),
  );
  const versions = await second.list();
  for (const { uid } of versions) await second.read(uid);
  const failed = store.failed.then(
    () => "closed",
    (error: unknown) => error,
  );
  for (const writing of [
    () => store.commit("known", 1, { by: "first, late" }),
    () => store.remove("removed", 1),
    () => store.commit("new", 0, {}),
  ]) {
    await expect(writing()).rejects.toMatchObject({
      code: "Conflict",
      message:
        "The state is held by host-b, process 7 now: this gateway may write no more and ends.",
    });
  }
  expect(await failed).toMatchObject({ code: "Conflict" });
  expect((await second.read("known"))?.body).toEqual({ by: "first" });
  expect(await second.read("removed")).toBeDefined();
  expect(await second.commit("known", 1, { by: "second" })).toBe(2);
  await second.close();
});

test("what the first wrote before the second looked is seen by the second", async () => {
  const second = await openConfigMapStore({ kube: direct, namespace, name: "b" }, never());
  // Not read by the second yet, so its version is still the first's.
  await store.commit("late", 0, { n: 1 }).catch(() => undefined);
  const found = await second.read("late");
  expect(await second.commit("late", found?.version ?? 0, { n: 2 })).toBe(
    (found?.version ?? 0) + 1,
  );
  await second.close();
});

test("a ConfigMap that somebody edited stops its document only; a running gateway puts back what it knows", async () => {
  await store.commit("edited", 0, { n: 1 });
  await store.commit("other", 0, { n: 1 });
  const ref = { resource: configMaps, namespace, name: "argus-state-edited" };
  const edit = () => direct.jsonPatch(ref, [{ op: "replace", path: "/data/body", value: "{}" }]);
  await edit();
  const again = await openConfigMapStore({ kube: direct, namespace, name: "b" }, never());
  await expect(again.read("edited")).rejects.toMatchObject({ reason: "ChecksumMismatch" });
  await expect(again.commit("edited", 1, {})).rejects.toMatchObject({ reason: "ChecksumMismatch" });
  expect((await again.read("other"))?.body).toEqual({ n: 1 });
  expect(await again.list()).toHaveLength(2);
  await again.commit("other", 1, { n: 2 });
  await direct.delete({ ...ref, name: "argus-state-other" });
  expect(await again.commit("other", 2, { n: 3 })).toBe(3);
  expect((await again.read("other"))?.body).toEqual({ n: 3 });
  await again.close();
});

test("without the right to write ConfigMaps the error says what to grant", async () => {
  proxy.decide = (request) => (isWrite(request) ? { kind: "status", status: 403 } : undefined);
  await expect(store.commit("a", 0, {})).rejects.toMatchObject({
    code: "Unavailable",
    message: expect.stringContaining("may this gateway get, list, create, update and delete"),
  });
});

test("a uid that no object can be named after is refused", async () => {
  await expect(store.commit("../a", 0, {})).rejects.toMatchObject({ code: "InvalidInput" });
});
