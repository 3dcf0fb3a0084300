import { expect } from "vitest";
import type { Case } from "../kubernetes.ts";
import { configMap, type Json, listOf, pod, textOf, widget } from "./tools.ts";

const managers = (body: Json) =>
  listOf<{
    manager: string;
    operation: string;
    subresource?: string;
  }>(body.metadata?.managedFields).map(({ manager, operation, subresource }) =>
    [manager, operation, subresource].filter(Boolean).join("/"),
  );

const byName = (a: { name: string }, b: { name: string }) => a.name.localeCompare(b.name);

export function applyCases(add: Case): void {
  add("apply creates (201), then answers 200 and writes nothing", async (t) => {
    const path = await t.widgets();
    const first = await t.apply(`${path}/a`, widget("a"));
    expect([first.status, managers(first.body)]).toEqual([201, ["tester/Apply"]]);
    const second = await t.apply(`${path}/a`, widget("a"));
    expect(second.status).toBe(200);
    expect(second.body.metadata?.resourceVersion).toBe(first.body.metadata?.resourceVersion);
  });

  add("apply needs a field manager", async (t) => {
    const path = await t.widgets();
    expect((await t.apply(`${path}/a`, widget("a"), "")).status).toBe(422);
  });

  add("another manager's field is a 409 that names manager and field", async (t) => {
    const path = await t.widgets();
    await t.apply(`${path}/a`, widget("a"), "one");
    const { status, body } = await t.apply(`${path}/a`, widget("a", { color: "blue" }), "two");
    expect(status).toBe(409);
    expect(body.message).toBe('Apply failed with 1 conflict: conflict with "one": .spec.color');
    expect(body.details?.causes?.[0]).toMatchObject({
      reason: "FieldManagerConflict",
      field: ".spec.color",
    });
  });

  add("force takes the field over", async (t) => {
    const path = await t.widgets();
    await t.apply(`${path}/a`, widget("a", { name: "abc" }), "one");
    const { body } = await t.apply(
      `${path}/a`,
      widget("a", { color: "blue" }),
      "two",
      "&force=true",
    );
    expect(body.spec).toMatchObject({ color: "blue", name: "abc" });
    const again = await t.apply(`${path}/a`, widget("a", { name: "abc" }), "one");
    expect(again.status).toBe(409);
  });

  add("the same value from two managers is shared", async (t) => {
    const path = await t.widgets();
    await t.apply(`${path}/a`, widget("a"), "one");
    const { status, body } = await t.apply(`${path}/a`, widget("a"), "two");
    expect(status).toBe(200);
    expect(managers(body).toSorted()).toEqual(["one/Apply", "two/Apply"]);
  });

  add("a field that its only owner leaves out is removed", async (t) => {
    const path = await t.widgets();
    await t.apply(`${path}/a`, widget("a", { name: "abc", labels: { x: "1", y: "2" } }));
    const { body } = await t.apply(`${path}/a`, widget("a", { labels: { x: "1" } }));
    expect(body.spec?.name).toBeUndefined();
    expect(body.spec?.labels).toEqual({ x: "1" });
  });

  add("a field that is left out stays when another manager has it", async (t) => {
    const path = await t.widgets();
    await t.apply(`${path}/a`, widget("a", { name: "abc" }), "one");
    await t.apply(`${path}/a`, widget("a", { name: "abc" }), "two");
    const { body } = await t.apply(`${path}/a`, widget("a"), "one");
    expect(body.spec?.name).toBe("abc");
  });

  add("a list-map merges items by key, and each manager owns its own", async (t) => {
    const path = await t.widgets();
    await t.apply(`${path}/a`, widget("a", { items: [{ name: "x", value: "1" }] }), "one");
    const two = widget("a", {
      items: [
        { name: "y", value: "2" },
        { name: "x", note: "n" },
      ],
    });
    const { body } = await t.apply(`${path}/a`, two, "two");
    expect(listOf<{ name: string }>(body.spec?.items).toSorted(byName)).toEqual([
      { name: "x", value: "1", note: "n" },
      { name: "y", value: "2" },
    ]);
    const less = await t.apply(`${path}/a`, widget("a"), "two");
    expect(less.body.spec?.items).toEqual([{ name: "x", value: "1" }]);
  });

  add("a list-map takes the order of the apply", async (t) => {
    const path = await t.widgets();
    await t.apply(`${path}/a`, widget("a", { items: [{ name: "x" }] }), "one");
    const items = [{ name: "y" }, { name: "x" }];
    const { body } = await t.apply(`${path}/a`, widget("a", { items }), "two");
    expect(body.spec?.items).toEqual(items);
  });

  add("a set merges values, an atomic list is replaced as a whole", async (t) => {
    const path = await t.widgets();
    await t.apply(`${path}/a`, widget("a", { tags: ["x"], words: ["x"] }), "one");
    const conflict = await t.apply(`${path}/a`, widget("a", { tags: ["y"], words: ["y"] }), "two");
    expect(listOf(conflict.body.details?.causes).map(({ field }) => field)).toEqual([
      ".spec.words",
    ]);
    const { body } = await t.apply(`${path}/a`, widget("a", { tags: ["y"] }), "two");
    expect(listOf<string>(body.spec?.tags).toSorted()).toEqual(["x", "y"]);
  });

  add("apply to status with an older resourceVersion is a 409 and writes nothing", async (t) => {
    const path = await t.widgets();
    const { body } = await t.post(path, widget("a"));
    const version = textOf(body.metadata?.resourceVersion);
    await t.apply(`${path}/a`, widget("a", {}, { labels: { touched: "1" } }), "person");
    const { apiVersion, kind } = widget("a");
    const metadata = { name: "a", resourceVersion: version };
    const object = { apiVersion, kind, metadata, status: { phase: "late" } };
    const late = await t.apply(`${path}/a/status`, object, "owner");
    expect([late.status, late.body.reason]).toEqual([409, "Conflict"]);
    expect((await t.get(`${path}/a`)).body.status).toBeUndefined();
  });

  add("apply to status does not look at the uid", async (t) => {
    const path = await t.widgets();
    await t.post(path, widget("a"));
    const { apiVersion, kind } = widget("a");
    const object = { apiVersion, kind, metadata: { name: "a", uid: "another" }, status: {} };
    expect((await t.apply(`${path}/a/status`, object, "owner")).status).toBe(200);
  });

  add("apply to status owns the status alone", async (t) => {
    const path = await t.widgets();
    await t.apply(`${path}/a`, widget("a"), "spec");
    const { body } = await t.apply(
      `${path}/a/status`,
      { ...widget("a", { color: "blue" }), status: { phase: "P" } },
      "state",
    );
    expect([body.spec?.color, body.status?.phase]).toEqual(["red", "P"]);
    expect(managers(body).toSorted()).toEqual(["spec/Apply", "state/Apply/status"]);
    const again = await t.apply(`${path}/a`, widget("a", { size: 4 }), "spec");
    expect(again.body.status?.phase).toBe("P");
  });

  add("two managers share the status by condition type", async (t) => {
    const sessions = `/apis/argus.dev/v1alpha1/namespaces/${await t.namespace()}/argussessions`;
    const object = {
      apiVersion: "argus.dev/v1alpha1",
      kind: "ArgusSession",
      metadata: { name: "s" },
    };
    await t.post(sessions, { ...object, spec: {} });
    const condition = (type: string) => ({
      type,
      status: "True",
      reason: "R",
      message: "m",
      lastTransitionTime: "2026-01-01T00:00:00Z",
    });
    const status = (types: string[]) => ({
      ...object,
      status: { conditions: types.map(condition) },
    });
    await t.apply(`${sessions}/s/status`, status(["Ready"]), "controller");
    const { body } = await t.apply(`${sessions}/s/status`, status(["StateReadable"]), "gateway");
    const types = listOf<{ type: string }>(body.status?.conditions).map(({ type }) => type);
    expect(types).toEqual(["Ready", "StateReadable"]);
    const less = await t.apply(`${sessions}/s/status`, status([]), "gateway");
    expect(listOf(less.body.status?.conditions).map(({ type }) => type)).toEqual(["Ready"]);
  });

  add("an unknown field in apply is refused", async (t) => {
    const path = await t.widgets();
    const { status, body } = await t.apply(`${path}/a`, widget("a", { colour: "red" }));
    expect(status).toBeGreaterThanOrEqual(400);
    expect(body.message).toContain(".spec.colour: field not declared in schema");
  });

  add("apply after an update: the updater is named as conflict", async (t) => {
    const ns = await t.namespace();
    const path = `/api/v1/namespaces/${ns}/configmaps`;
    await t.post(`${path}?fieldManager=maker`, configMap("c", { a: "1" }));
    const { status, body } = await t.apply(`${path}/c`, configMap("c", { a: "2" }));
    expect([status, body.details?.causes?.[0]?.field]).toEqual([409, ".data.a"]);
    expect(body.message).toContain('conflict with "maker" using v1');
  });

  add("apply of a pod keeps defaults and merges ports by number and protocol", async (t) => {
    const ns = await t.namespace();
    const path = `/api/v1/namespaces/${ns}/pods/p`;
    const container = {
      name: "main",
      image: "example.test/main:1",
      ports: [{ containerPort: 80 }],
    };
    const first = (await t.apply(path, pod("p", { containers: [container] }))).body;
    expect(first.spec?.containers?.[0]?.ports).toEqual([{ containerPort: 80, protocol: "TCP" }]);
    const again = (await t.apply(path, pod("p", { containers: [container] }))).body;
    expect(again.metadata?.resourceVersion).toBe(first.metadata?.resourceVersion);
  });

  add("apply with dryRun stores nothing", async (t) => {
    const path = await t.widgets();
    expect((await t.apply(`${path}/a`, widget("a"), "m", "&dryRun=All")).status).toBe(201);
    expect((await t.get(`${path}/a`)).status).toBe(404);
  });
}
