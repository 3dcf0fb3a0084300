import { readFile, writeFile } from "node:fs/promises";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createKubeClient } from "#cluster/client.ts";
import { EventRecorder } from "#cluster/events.ts";
import { KubeError } from "#cluster/kube-error.ts";
import { argusSessions, configMaps, events } from "#cluster/resources.ts";
import type { KubeClient, KubeObject } from "#cluster/types.ts";
import { silentLogger } from "#lib/logger.ts";
import { ControllerRig, NAMESPACE } from "../support/controller-rig.ts";
import { FaultyApiServer } from "../support/faulty-api-server.ts";

let rig: ControllerRig;
let kube: KubeClient;
beforeAll(async () => {
  rig = await ControllerRig.start();
  kube = rig.kube;
});
afterAll(() => rig.stop());

type Data = KubeObject & { data?: Record<string, string> };
const map = (name: string, data: Record<string, string> = {}): Data => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace: NAMESPACE },
  data,
});
const ref = (name: string) => ({ resource: configMaps, namespace: NAMESPACE, name });

async function failureOf(call: Promise<unknown>): Promise<KubeError> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(KubeError);
  return error as KubeError;
}

test("the namespace is the context's own", async () => {
  const client = await createKubeClient({ kubeconfig: rig.kubeconfig, logger: silentLogger() });
  expect(client.namespace).toBe(NAMESPACE);
  await client.close();
});

test("get answers undefined for what does not exist", async () => {
  expect(await kube.get(ref("nobody"))).toBeUndefined();
});

test("create, get, replace, delete; unknown metadata survives", async () => {
  const made = await kube.create(configMaps, map("one", { a: "1" }));
  expect(made.metadata.uid).toBeTruthy();
  const read = await kube.get<Data>(ref("one"));
  expect(read?.data).toEqual({ a: "1" });
  const replaced = await kube.replace(configMaps, { ...made, data: { a: "2" } });
  expect(replaced.data).toEqual({ a: "2" });
  await kube.delete(ref("one"), { uid: made.metadata.uid ?? "" });
  expect(await kube.get(ref("one"))).toBeUndefined();
});

test("a second create is AlreadyExists, a stale replace is Conflict", async () => {
  const made = await kube.create(configMaps, map("two"));
  const taken = await failureOf(kube.create(configMaps, map("two")));
  expect(taken).toMatchObject({ status: 409, reason: "AlreadyExists", code: "Conflict" });
  expect(taken.message).toContain("create configmaps default/two");
  await kube.replace(configMaps, { ...made, data: { x: "1" } });
  const stale = await failureOf(kube.replace(configMaps, { ...made, data: { x: "2" } }));
  expect(stale).toMatchObject({ status: 409, reason: "Conflict" });
});

test("a delete with another UID deletes nothing", async () => {
  await kube.create(configMaps, map("three"));
  const refused = await failureOf(kube.delete(ref("three"), { uid: "someone-else" }));
  expect(refused.status).toBe(409);
  expect(await kube.get(ref("three"))).toBeDefined();
});

test("apply drops what the intent no longer holds and leaves others' fields alone", async () => {
  const options = { fieldManager: "a", force: true };
  await kube.apply(configMaps, map("four", { mine: "1", gone: "1" }), options);
  await kube.apply(configMaps, map("four", { theirs: "1" }), { fieldManager: "b" });
  const next = await kube.apply(configMaps, map("four", { mine: "2" }), options);
  expect(next.data).toEqual({ mine: "2", theirs: "1" });
});

test("applyStatus changes the status alone", async () => {
  await rig.apply("status-only");
  const object = {
    apiVersion: "argus.dev/v1alpha1",
    kind: "ArgusSession",
    metadata: { name: "status-only", namespace: NAMESPACE },
    spec: { operatingMode: "Suspended" },
    status: { podName: "p" },
  };
  await kube.applyStatus(argusSessions, object, { fieldManager: "a", force: true });
  const session = await rig.session("status-only");
  expect(session?.status?.podName).toBe("p");
  expect(session?.spec.operatingMode).toBe("Running");
  expect(session?.metadata.generation).toBe(1);
});

test("a JSON patch with a test that fails changes nothing", async () => {
  await kube.create(configMaps, map("five", { a: "1" }));
  const patch = [
    { op: "test" as const, path: "/data/a", value: "2" },
    { op: "replace" as const, path: "/data/a", value: "3" },
  ];
  expect((await failureOf(kube.jsonPatch(ref("five"), patch))).status).toBeGreaterThanOrEqual(409);
  expect((await kube.get<Data>(ref("five")))?.data).toEqual({ a: "1" });
});

test("an invalid object names its field in causes", async () => {
  const refused = await failureOf(rig.apply("bad", { limits: { pids: 1 } }));
  expect(refused).toMatchObject({ status: 422, reason: "Invalid", code: "InvalidInput" });
  expect(refused.causes.map(({ field }) => field).join()).toContain("spec.limits.pids");
});

test("lists are paged and selected", async () => {
  for (let i = 0; i < 5; i += 1) {
    const object = map(`page-${i}`);
    await kube.create(configMaps, {
      ...object,
      metadata: { ...object.metadata, labels: { page: "yes" } },
    });
  }
  const options = { namespace: NAMESPACE, labelSelector: "page=yes", limit: 2 };
  const names: string[] = [];
  let next: string | undefined;
  do {
    const page = await kube.list(configMaps, { ...options, ...(next ? { continue: next } : {}) });
    names.push(...page.items.map(({ metadata }) => metadata.name));
    next = page.continue;
  } while (next);
  expect(names).toEqual(["page-0", "page-1", "page-2", "page-3", "page-4"]);
});

test("a request is ended by its signal and by its deadline", async () => {
  const server = await FaultyApiServer.start();
  const client = await createKubeClient({
    kubeconfig: await server.kubeconfig(),
    logger: silentLogger(),
  });
  server.watchFaults = [{ silent: true }, { silent: true }];
  const path = "/api/v1/namespaces/work/configmaps";
  const query = { watch: true };
  const late = await client.request("GET", path, { query, timeoutMs: 50 });
  await expect(late.body.json()).rejects.toThrow();
  const abort = new AbortController();
  const answer = await client.request("GET", path, { query, timeoutMs: 0, signal: abort.signal });
  abort.abort(new Error("enough"));
  await expect(answer.body.json()).rejects.toThrow();
  await client.close();
  await server.close();
  const dead = await failureOf(client.get(ref("x")));
  expect(dead).toMatchObject({ status: 0, code: "Unavailable" });
});

test("a refused call tells when to come back", async () => {
  const server = await FaultyApiServer.start();
  server.listFaults = [{ status: 429, retryAfterSeconds: 7 }];
  const client = await createKubeClient({
    kubeconfig: await server.kubeconfig(),
    logger: silentLogger(),
  });
  const refused = await failureOf(client.list(configMaps, { namespace: "work" }));
  expect(refused).toMatchObject({ status: 429, retryAfterMs: 7000, code: "Busy" });
  await client.close();
  await server.close();
});

test("a 401 is tried once more with credentials read anew, and a read whose connection broke likewise", async () => {
  const server = await FaultyApiServer.start();
  const client = await createKubeClient({
    kubeconfig: await server.kubeconfig(),
    logger: silentLogger(),
  });
  server.listFaults = [{ status: 401 }];
  expect((await client.list(configMaps, { namespace: "work" })).items).toEqual([]);
  server.listFaults = [{ cut: "reset" }];
  expect((await client.list(configMaps, { namespace: "work" })).items).toEqual([]);
  server.listFaults = [{ status: 401 }, { status: 401 }];
  expect((await failureOf(client.list(configMaps, { namespace: "work" }))).status).toBe(401);
  expect(server.requests).toHaveLength(6);
  await client.close();
  await server.close();
});

test("a wrong token is Unauthorized, and no message or log holds a token", async () => {
  const lines: string[] = [];
  const logger = pino({ level: "trace" }, { write: (line: string) => lines.push(line) });
  const text = await readFile(rig.kubeconfig, "utf8");
  const path = `${rig.kubeconfig}-wrong`;
  await writeFile(path, text.replace(/token: .*/, "token: eyJhbGciOiJub25lIn0.e30.canary"));
  const client = await createKubeClient({ kubeconfig: path, logger });
  const refused = await failureOf(client.get(ref("x")));
  expect(refused).toMatchObject({ status: 401, code: "Unauthorized" });
  expect(JSON.stringify([refused.message, refused.facts, ...lines])).not.toContain("canary");
  await client.close();
});

test("a kubeconfig that is none is refused with its path", async () => {
  const options = { kubeconfig: "/nowhere/config", logger: silentLogger() };
  await expect(createKubeClient(options)).rejects.toThrow("/nowhere/config");
});

test("200 calls at once use a handful of connections and all succeed", async () => {
  const calls = Array.from({ length: 200 }, () => kube.list(configMaps, { namespace: NAMESPACE }));
  expect(await Promise.all(calls)).toHaveLength(200);
});

test("a repeated event is one object with a count, and a crash loop is held back", async () => {
  const recorder = new EventRecorder({ kube, component: "test", logger: silentLogger() });
  await rig.apply("talkative");
  const session = (await rig.session("talkative")) as KubeObject;
  const list = async () =>
    (await kube.list<KubeObject & { count: number }>(events, { namespace: NAMESPACE })).items;
  for (let i = 0; i < 5; i += 1) {
    recorder.record(session, { reason: "Same", message: "again" });
    await recorder.flushed();
  }
  expect(await list()).toMatchObject([{ count: 5 }]);
  for (let i = 0; i < 100; i += 1) {
    recorder.record(session, { reason: "Other", message: `number ${i}` });
    await recorder.flushed();
  }
  expect((await list()).length).toBeLessThanOrEqual(26);
});

test("an event that cannot be written fails nothing", async () => {
  const server = await FaultyApiServer.start();
  const client = await createKubeClient({
    kubeconfig: await server.kubeconfig(),
    logger: silentLogger(),
  });
  await server.close();
  const recorder = new EventRecorder({ kube: client, component: "test", logger: silentLogger() });
  recorder.record(map("x"), { reason: "Lost", message: "nobody hears" });
  await recorder.flushed();
  await client.close();
});

test("behind a fence every write is asked for right before it is sent, and aborted when the fence falls", async () => {
  const falls = new AbortController();
  const asked: string[] = [];
  const fenced = kube.fenced({ check: () => void asked.push("asked"), signal: falls.signal });
  const made = await fenced.create(configMaps, map("fenced"));
  await fenced.replace(configMaps, { ...made, data: { a: "1" } });
  await fenced.apply(configMaps, map("fenced", { a: "2" }), { fieldManager: "a", force: true });
  await fenced.jsonPatch(ref("fenced"), [{ op: "add", path: "/metadata/labels", value: {} }]);
  await fenced.delete(ref("fenced"));
  expect(asked).toHaveLength(5);
  await fenced.get(ref("fenced"));
  await fenced.list(configMaps, { namespace: NAMESPACE });
  expect(asked).toHaveLength(5);
  const underWay = fenced.create(configMaps, map("under-way"));
  falls.abort(new Error("the fence fell"));
  await expect(underWay).rejects.toThrow("the fence fell");
  const closed = kube.fenced({
    check: () => {
      throw new Error("closed");
    },
    signal: new AbortController().signal,
  });
  await expect(closed.create(configMaps, map("never"))).rejects.toThrow("closed");
  expect(await kube.get(ref("never"))).toBeUndefined();
});
