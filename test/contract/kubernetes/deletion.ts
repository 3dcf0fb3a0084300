import { expect } from "vitest";
import type { Case } from "../kubernetes.ts";
import { configMap, type Json, pod, type Tools, widget } from "./tools.ts";

const owner = (object: Json, extra: object = {}) => ({
  apiVersion: object.apiVersion,
  kind: object.kind,
  name: object.metadata?.name,
  uid: object.metadata?.uid,
  ...extra,
});

async function owned(t: Tools) {
  const ns = await t.namespace();
  const widgets = `/apis/contract.argus.dev/v1/namespaces/${ns}/widgets`;
  const maps = `/api/v1/namespaces/${ns}/configmaps`;
  const parent = (await t.post(widgets, widget("parent"))).body;
  const ownerReferences = [owner(parent, { controller: true, blockOwnerDeletion: true })];
  await t.post(maps, configMap("child", {}, { ownerReferences }));
  return { widgets, maps };
}

export function deletionCases(add: Case): void {
  add("delete answers a Success Status with the uid", async (t) => {
    const path = await t.widgets();
    const made = (await t.post(path, widget("a"))).body;
    const { status, body } = await t.delete(`${path}/a`);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      kind: "Status",
      status: "Success",
      details: { uid: made.metadata?.uid },
    });
    expect((await t.delete(`${path}/a`)).status).toBe(404);
  });

  add("preconditions on uid and version are 409", async (t) => {
    const path = await t.widgets();
    await t.post(path, widget("a"));
    for (const preconditions of [{ uid: "other" }, { resourceVersion: "1" }]) {
      const { status, body } = await t.delete(`${path}/a`, { preconditions });
      expect([status, body.reason]).toEqual([409, "Conflict"]);
    }
    expect((await t.get(`${path}/a`)).status).toBe(200);
  });

  add("a finalizer keeps the object until it is removed", async (t) => {
    const path = await t.widgets();
    await t.post(path, widget("a", {}, { finalizers: ["contract.argus.dev/hold"] }));
    const marked = await t.delete(`${path}/a`);
    expect(marked.body.metadata?.deletionTimestamp).toBeTruthy();
    const more = {
      metadata: { finalizers: ["contract.argus.dev/hold", "contract.argus.dev/new"] },
    };
    expect((await t.patch(`${path}/a`, "merge", more)).status).toBe(422);
    await t.patch(`${path}/a`, "merge", { metadata: { finalizers: null } });
    expect((await t.get(`${path}/a`)).status).toBe(404);
  });

  add("a pod with a node is marked first, and gone with grace 0", async (t) => {
    const path = `/api/v1/namespaces/${await t.namespace()}/pods`;
    await t.post(path, pod("p", { nodeName: "contract-node" }));
    const marked = (await t.delete(`${path}/p`)).body;
    expect(marked.metadata).toMatchObject({ deletionGracePeriodSeconds: 30 });
    expect((await t.get(`${path}/p`)).status).toBe(200);
    const sooner = (await t.delete(`${path}/p?gracePeriodSeconds=5`)).body;
    expect(sooner.metadata?.deletionGracePeriodSeconds).toBe(5);
    await t.delete(`${path}/p`, { gracePeriodSeconds: 0 });
    expect((await t.get(`${path}/p`)).status).toBe(404);
  });

  add("deletecollection deletes what the selector picks", async (t) => {
    const path = await t.widgets();
    await t.post(path, widget("a", {}, { labels: { x: "1" } }));
    await t.post(path, widget("b"));
    expect((await t.delete(`${path}?labelSelector=x%3D1`)).status).toBe(200);
    expect((await t.get(path)).body.items).toHaveLength(1);
  });

  add("the owner's end ends what it owns", async (t) => {
    const { widgets, maps } = await owned(t);
    await t.delete(`${widgets}/parent`);
    await t.until(async () => (await t.get(`${maps}/child`)).status === 404);
  });

  add("an object whose owner never was is collected", async (t) => {
    const maps = `/api/v1/namespaces/${await t.namespace()}/configmaps`;
    const ghost = { apiVersion: "v1", kind: "ConfigMap", name: "ghost", uid: crypto.randomUUID() };
    await t.post(maps, configMap("child", {}, { ownerReferences: [ghost] }));
    await t.until(async () => (await t.get(`${maps}/child`)).status === 404);
  });

  add("orphaned dependents stay, without their owner", async (t) => {
    const { widgets, maps } = await owned(t);
    await t.delete(`${widgets}/parent`, { propagationPolicy: "Orphan" });
    await t.until(async () => (await t.get(`${widgets}/parent`)).status === 404);
    const { body } = await t.get(`${maps}/child`);
    expect(body.metadata?.ownerReferences).toBeUndefined();
  });

  add("foreground deletion ends the owner after its dependents", async (t) => {
    const { widgets, maps } = await owned(t);
    await t.patch(`${maps}/child`, "merge", {
      metadata: { finalizers: ["contract.argus.dev/hold"] },
    });
    await t.delete(`${widgets}/parent`, { propagationPolicy: "Foreground" });
    await t.until(async () =>
      Boolean((await t.get(`${maps}/child`)).body.metadata?.deletionTimestamp),
    );
    expect((await t.get(`${widgets}/parent`)).body.metadata?.finalizers).toEqual([
      "foregroundDeletion",
    ]);
    await t.patch(`${maps}/child`, "merge", { metadata: { finalizers: null } });
    await t.until(async () => (await t.get(`${widgets}/parent`)).status === 404);
  });

  add("a namespace ends with everything in it, and refuses new objects meanwhile", async (t) => {
    const ns = await t.namespace();
    const maps = `/api/v1/namespaces/${ns}/configmaps`;
    await t.post(maps, configMap("c", {}, { finalizers: ["contract.argus.dev/hold"] }));
    await t.delete(`/api/v1/namespaces/${ns}`);
    expect((await t.get(`/api/v1/namespaces/${ns}`)).body.status?.phase).toBe("Terminating");
    expect((await t.post(maps, configMap("late"))).status).toBe(403);
    await t.patch(`${maps}/c`, "merge", { metadata: { finalizers: null } });
    await t.until(async () => (await t.get(`/api/v1/namespaces/${ns}`)).status === 404);
  });
}
