import { afterAll, beforeAll, expect, test } from "vitest";
import { createKubeClient } from "#cluster/client.ts";
import { configMaps } from "#cluster/resources.ts";
import type { KubeObject } from "#cluster/types.ts";
import { watchEvents } from "#cluster/watch-events.ts";
import { silentLogger } from "#lib/logger.ts";
import { type ApiPeer, startLocalPeer } from "../support/api-peer.ts";
import type { Fault } from "../support/fault-proxy/faults.ts";
import { FaultProxy } from "../support/fault-proxy.ts";

let peer: ApiPeer;
beforeAll(async () => {
  peer = await startLocalPeer();
});
afterAll(() => peer.close());

async function withProxy(
  http2: boolean,
  use: (made: {
    proxy: FaultProxy;
    kube: Awaited<ReturnType<typeof createKubeClient>>;
    next: (fault: Fault) => void;
  }) => Promise<void>,
): Promise<void> {
  const faults: Fault[] = [];
  const proxy = await FaultProxy.start(peer, { http2, decide: () => faults.shift() });
  const kube = await createKubeClient({ kubeconfig: proxy.kubeconfig, logger: silentLogger() });
  try {
    await use({ proxy, kube, next: (fault) => faults.push(fault) });
  } finally {
    await kube.close();
    await proxy.close();
  }
}

const map = (name: string): KubeObject => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace: "default" },
});
const refOf = (name: string) => ({ resource: configMaps, namespace: "default", name });
const failed = (call: Promise<unknown>) =>
  call.then(
    () => undefined,
    (error: unknown) => error,
  );

test.each([true, false])("requests pass and are counted, HTTP/2: %s", async (http2) => {
  await withProxy(http2, async ({ proxy, kube }) => {
    const name = `passed-${http2}`;
    await kube.create(configMaps, map(name));
    expect((await kube.get(refOf(name)))?.metadata.name).toBe(name);
    await kube.delete(refOf(name));
    expect(Object.fromEntries(proxy.counts())).toEqual({
      "create configmaps": 1,
      "get configmaps": 1,
      "delete configmaps": 1,
    });
    expect(proxy.requests.map(({ status }) => status)).toEqual([201, 200, 200]);
    expect(proxy.connections.total).toBeLessThanOrEqual(http2 ? 1 : 4);
  });
});

test.each([true, false])("faults are what they say, HTTP/2: %s", async (http2) => {
  await withProxy(http2, async ({ proxy, kube, next }) => {
    next({ kind: "status", status: 429, retryAfterSeconds: 7 });
    expect(await failed(kube.create(configMaps, map("x")))).toMatchObject({
      status: 429,
      retryAfterMs: 7000,
    });
    next({ kind: "status", status: 409 });
    expect(await failed(kube.create(configMaps, map("x")))).toMatchObject({ reason: "Conflict" });
    next({ kind: "reset" });
    expect(await failed(kube.create(configMaps, map("x")))).toMatchObject({ status: 0 });
    expect(await kube.get(refOf("x"))).toBeUndefined();
    const committed: number[] = [];
    next({ kind: "lost", committed: (status) => committed.push(status) });
    expect(await failed(kube.create(configMaps, map("x")))).toMatchObject({ status: 0 });
    expect(committed).toEqual([201]);
    expect((await kube.get(refOf("x")))?.metadata.name).toBe("x");
    await kube.delete(refOf("x"));
    proxy.freeze();
    const path = "/api/v1/namespaces/default/configmaps";
    const late = kube.request("GET", path, { timeoutMs: 200 });
    expect(await failed(late)).toMatchObject({ code: "Timeout" });
    proxy.heal();
    proxy.refuse();
    expect(await failed(kube.list(configMaps))).toMatchObject({ status: 0 });
    await proxy.accept();
    expect((await kube.list(configMaps, { namespace: "default" })).items).toBeInstanceOf(Array);
  });
});

test.each([true, false])("a watch in pieces is whole, one cut ends, HTTP/2: %s", async (http2) => {
  await withProxy(http2, async ({ proxy, kube, next }) => {
    const name = `whole-${http2}`;
    const data = { text: "日本語 \u2028 👩‍💻" };
    await kube.create(configMaps, { ...map(name), data } as KubeObject);
    const query = { watch: true, sendInitialEvents: true, resourceVersionMatch: "NotOlderThan" };
    const path = "/api/v1/namespaces/default/configmaps";
    next({ kind: "pieces" });
    const all = { ...query, allowWatchBookmarks: true };
    const answer = await kube.request("GET", path, { query: all, timeoutMs: 0 });
    const seen = new Map<string, KubeObject>();
    for await (const event of watchEvents(answer.body)) {
      if (event.type === "BOOKMARK") break;
      if (event.type !== "ERROR") seen.set(event.object.metadata.name, event.object);
    }
    expect(seen.get(name)).toMatchObject({ data });
    const second = await kube.request("GET", path, { query: all, timeoutMs: 0 });
    const broken = (async () => {
      for await (const event of watchEvents(second.body)) {
        if (event.type === "BOOKMARK") proxy.cutAll("reset");
      }
    })();
    await expect(broken).rejects.toThrow();
    expect(proxy.counts().get("watch configmaps")).toBe(2);
  });
});
