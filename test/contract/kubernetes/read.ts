import { expect } from "vitest";
import type { Case } from "../kubernetes.ts";
import { configMap, type Json, listOf, pod, textOf, WIDGETS, widget } from "./tools.ts";

const names = (body: Json) =>
  (body.items as unknown as { metadata: { name: string } }[]).map(({ metadata }) => metadata.name);

export function readCases(add: Case): void {
  add("get of a missing object is a 404 that names it", async (t) => {
    const ns = await t.namespace();
    const { status, body } = await t.get(`/api/v1/namespaces/${ns}/pods/none`);
    expect(status).toBe(404);
    expect(body).toMatchObject({
      reason: "NotFound",
      message: 'pods "none" not found',
      details: { name: "none", kind: "pods" },
    });
  });

  add("list answers kind, version and items in order", async (t) => {
    const path = await t.widgets();
    for (const name of ["b", "a"]) await t.post(path, widget(name));
    const { body } = await t.get(path);
    expect(body).toMatchObject({ kind: "WidgetList", apiVersion: "contract.argus.dev/v1" });
    expect(names(body)).toEqual(["a", "b"]);
    expect(Number(body.metadata?.resourceVersion)).toBeGreaterThan(0);
  });

  add("a list over all namespaces sees every namespace", async (t) => {
    const path = await t.widgets();
    await t.post(path, widget("everywhere"));
    expect(names((await t.get(`${WIDGETS}/widgets`)).body)).toContain("everywhere");
  });

  for (const [selector, expected] of [
    ["a=1", ["one"]],
    ["a!=1", ["none", "two"]],
    ["a in (1,2)", ["one", "two"]],
    ["a notin (1)", ["none", "two"]],
    ["a", ["one", "two"]],
    ["!a", ["none"]],
    ["a=1,b=x", ["one"]],
  ] as const) {
    add(`label selector ${selector}`, async (t) => {
      const ns = await t.namespace();
      const path = `/api/v1/namespaces/${ns}/configmaps`;
      await t.post(path, configMap("one", {}, { labels: { a: "1", b: "x" } }));
      await t.post(path, configMap("two", {}, { labels: { a: "2" } }));
      await t.post(path, configMap("none"));
      const { body } = await t.get(`${path}?labelSelector=${encodeURIComponent(selector)}`);
      expect(names(body).filter((name) => name !== "kube-root-ca.crt")).toEqual(expected);
    });
  }

  add("field selectors pick by name, phase and node", async (t) => {
    const ns = await t.namespace();
    const path = `/api/v1/namespaces/${ns}/pods`;
    await t.post(path, pod("one"));
    await t.post(path, pod("two", { nodeName: "n1" }));
    const list = async (selector: string) =>
      names((await t.get(`${path}?fieldSelector=${encodeURIComponent(selector)}`)).body);
    expect(await list("metadata.name=one")).toEqual(["one"]);
    expect(await list("spec.nodeName=n1")).toEqual(["two"]);
    expect(await list("status.phase=Pending,metadata.name!=one")).toEqual(["two"]);
  });

  add("an unknown field in a selector is 400", async (t) => {
    const { status } = await t.get("/api/v1/pods?fieldSelector=spec.nothing%3D1");
    expect(status).toBe(400);
  });

  add("events are selected by what they are about", async (t) => {
    const ns = await t.namespace();
    const about = { kind: "Pod", name: "p", namespace: ns, uid: "u1" };
    const event = {
      metadata: { name: "e1" },
      involvedObject: about,
      reason: "R",
      message: "m",
      type: "Normal",
    };
    await t.post(`/api/v1/namespaces/${ns}/events`, event);
    const other = { ...event, metadata: { name: "e2" }, involvedObject: { ...about, name: "q" } };
    await t.post(`/api/v1/namespaces/${ns}/events`, other);
    const selector = `involvedObject.name=p,involvedObject.namespace=${ns},involvedObject.kind=Pod,involvedObject.uid=u1`;
    const { body } = await t.get(
      `/api/v1/namespaces/${ns}/events?fieldSelector=${encodeURIComponent(selector)}`,
    );
    expect(names(body)).toEqual(["e1"]);
  });

  add("an event reads the same through both event groups", async (t) => {
    const ns = await t.namespace();
    const regarding = { kind: "Pod", name: "p", namespace: ns };
    const made = await t.post(`/apis/events.k8s.io/v1/namespaces/${ns}/events`, {
      metadata: { name: "e1" },
      eventTime: "2026-01-01T00:00:00.000000Z",
      regarding,
      note: "hello",
      reason: "Because",
      action: "Tried",
      type: "Normal",
      reportingController: "contract.test/c",
      reportingInstance: "i",
    });
    expect(made.status).toBe(201);
    const core = (await t.get(`/api/v1/namespaces/${ns}/events/e1`)).body;
    expect(core).toMatchObject({
      message: "hello",
      involvedObject: regarding,
      reportingComponent: "contract.test/c",
    });
    const newer = (await t.get(`/apis/events.k8s.io/v1/namespaces/${ns}/events/e1`)).body;
    expect(newer).toMatchObject({ note: "hello", apiVersion: "events.k8s.io/v1" });
  });

  add("limit and continue walk one consistent snapshot", async (t) => {
    const path = await t.widgets();
    for (const name of ["a", "b", "c", "d"]) await t.post(path, widget(name));
    const first = (await t.get(`${path}?limit=2`)).body;
    expect(names(first)).toEqual(["a", "b"]);
    expect(first.metadata?.remainingItemCount).toBe(2);
    await t.delete(`${path}/c`);
    await t.post(path, widget("e"));
    const token = encodeURIComponent(textOf(first.metadata?.continue));
    const second = (await t.get(`${path}?limit=2&continue=${token}`)).body;
    expect(names(second)).toEqual(["c", "d"]);
    expect(second.metadata?.continue ?? "").toBe("");
  });

  add("a broken continue token is refused", async (t) => {
    expect((await t.get("/api/v1/pods?limit=1&continue=%21")).status).toBe(400);
  });

  add("resourceVersion=0 and NotOlderThan answer at least that version", async (t) => {
    const path = await t.widgets();
    const made = (await t.post(path, widget("a"))).body;
    const version = textOf(made.metadata?.resourceVersion);
    expect(names((await t.get(`${path}?resourceVersion=0`)).body)).toEqual(["a"]);
    const query = `resourceVersion=${version}&resourceVersionMatch=NotOlderThan`;
    expect(names((await t.get(`${path}?${query}`)).body)).toEqual(["a"]);
  });

  add("resourceVersionMatch=Exact answers the past", async (t) => {
    const path = await t.widgets();
    const version = textOf((await t.post(path, widget("a"))).body.metadata?.resourceVersion);
    await t.post(path, widget("b"));
    const query = `resourceVersion=${version}&resourceVersionMatch=Exact&limit=500`;
    expect(names((await t.get(`${path}?${query}`)).body)).toEqual(["a"]);
  });

  add("a version of the future is a 504 that asks to retry", async (t) => {
    const { status, body } = await t.get(
      "/api/v1/namespaces?resourceVersion=999999999999&resourceVersionMatch=NotOlderThan",
    );
    expect(status).toBe(504);
    expect(body.details?.causes?.[0]?.reason).toBe("ResourceVersionTooLarge");
  });

  add("a table has our columns, cells and metadata", async (t) => {
    const path = await t.widgets();
    await t.post(path, widget("a", { size: 5 }));
    const accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    const { body } = await t.get(path, { accept });
    expect(body.kind).toBe("Table");
    const columns = body.columnDefinitions as unknown as { name: string; priority: number }[];
    expect(columns.map(({ name }) => name)).toEqual(["Name", "Size", "Ready", "Wide", "Age"]);
    expect(columns.map(({ priority }) => priority)).toEqual([0, 0, 0, 1, 0]);
    expect(listOf(body.rows?.[0]?.cells).slice(0, 2)).toEqual(["a", 5]);
    expect(body.rows?.[0]?.object).toMatchObject({
      kind: "PartialObjectMetadata",
      metadata: { name: "a" },
    });
  });

  add("metadata only: PartialObjectMetadataList", async (t) => {
    const path = await t.widgets();
    await t.post(path, widget("a"));
    const accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    const { body } = await t.get(path, { accept });
    expect(body.kind).toBe("PartialObjectMetadataList");
    expect(body.items?.[0]?.spec).toBeUndefined();
  });
}
