import { expect } from "vitest";
import type { Case } from "../kubernetes.ts";
import { configMap, listOf, pod, textOf, widget } from "./tools.ts";

export function writeCases(add: Case): void {
  add("create gives identity, version, generation and creation time", async (t) => {
    const path = await t.widgets();
    const { status, body } = await t.post(path, widget("a"));
    expect(status).toBe(201);
    expect(body.metadata).toMatchObject({ name: "a", generation: 1 });
    expect(body.metadata?.uid).toMatch(/^[0-9a-f-]{36}$/);
    expect(body.metadata?.creationTimestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  });

  add("create of an existing name is 409 AlreadyExists", async (t) => {
    const path = await t.widgets();
    await t.post(path, widget("a"));
    const { status, body } = await t.post(path, widget("a"));
    expect([status, body.reason, body.message]).toEqual([
      409,
      "AlreadyExists",
      'widgets.contract.argus.dev "a" already exists',
    ]);
  });

  add("generateName makes a free name", async (t) => {
    const path = await t.widgets();
    const { body } = await t.post(path, widget("", {}, { generateName: "gen-", name: undefined }));
    expect(body.metadata?.name).toMatch(/^gen-[a-z0-9]{5}$/);
  });

  add("create in a missing namespace is 404", async (t) => {
    const { status, body } = await t.post("/api/v1/namespaces/nowhere/configmaps", configMap("a"));
    expect([status, body.message]).toEqual([404, 'namespaces "nowhere" not found']);
  });

  add("a bad name is a 422 that names the field", async (t) => {
    const path = await t.widgets();
    const { status, body } = await t.post(path, widget("Not_Good"));
    expect([status, body.reason]).toEqual([422, "Invalid"]);
    expect(body.details?.causes?.[0]).toMatchObject({
      field: "metadata.name",
      reason: "FieldValueInvalid",
    });
  });

  add("another namespace or kind in the body is 400", async (t) => {
    const path = await t.widgets();
    expect((await t.post(path, widget("a", {}, { namespace: "default" }))).status).toBe(400);
    expect(
      (await t.post(path, { ...widget("a"), apiVersion: "contract.argus.dev/v9" })).status,
    ).toBe(400);
  });

  add("replace with the seen version succeeds, with an old one is 409", async (t) => {
    const path = await t.widgets();
    const made = (await t.post(path, widget("a"))).body;
    const { resourceVersion } = made.metadata as unknown as { resourceVersion: string };
    const next = widget("a", { size: 4 }, { resourceVersion });
    expect((await t.put(`${path}/a`, next)).status).toBe(200);
    const { status, body } = await t.put(`${path}/a`, { ...next, spec: { color: "blue" } });
    expect([status, body.reason]).toEqual([409, "Conflict"]);
    expect(body.message).toContain("the object has been modified");
  });

  add("replace of a custom resource without a version is 422", async (t) => {
    const path = await t.widgets();
    await t.post(path, widget("a"));
    expect((await t.put(`${path}/a`, widget("a"))).status).toBe(422);
  });

  add("replace of a missing object is 404", async (t) => {
    const path = await t.widgets();
    expect((await t.put(`${path}/a`, widget("a", {}, { resourceVersion: "1" }))).status).toBe(404);
  });

  add("a write that changes nothing keeps the version", async (t) => {
    const path = await t.widgets();
    const made = (await t.post(path, widget("a"))).body;
    const again = (await t.patch(`${path}/a`, "merge", { spec: { color: "red" } })).body;
    expect(again.metadata?.resourceVersion).toBe(made.metadata?.resourceVersion);
  });

  add("the generation counts changes of the spec alone", async (t) => {
    const path = await t.widgets();
    await t.post(path, widget("a"));
    const labelled = (await t.patch(`${path}/a`, "merge", { metadata: { labels: { x: "y" } } }))
      .body;
    expect(labelled.metadata?.generation).toBe(1);
    const changed = (await t.patch(`${path}/a`, "merge", { spec: { size: 5 } })).body;
    expect(changed.metadata?.generation).toBe(2);
  });

  add("status and the rest are written apart", async (t) => {
    const path = await t.widgets();
    const made = (await t.post(path, { ...widget("a"), status: { phase: "Hacked" } })).body;
    expect(made.status).toBeUndefined();
    const main = (await t.patch(`${path}/a`, "merge", { status: { phase: "Hacked" } })).body;
    expect(main.status).toBeUndefined();
    const body = {
      spec: { color: "blue" },
      metadata: { labels: { a: "b" } },
      status: { phase: "Good" },
    };
    const status = (await t.patch(`${path}/a/status`, "merge", body)).body;
    expect(status.status).toEqual({ phase: "Good" });
    expect(status.spec?.color).toBe("red");
    expect(status.metadata?.labels).toBeUndefined();
    expect(status.metadata?.generation).toBe(1);
  });

  add("a JSON patch adds, tests and fails as a whole", async (t) => {
    const path = await t.widgets();
    await t.post(path, widget("a"));
    const good = [
      { op: "test", path: "/spec/color", value: "red" },
      { op: "add", path: "/spec/size", value: 7 },
    ];
    expect((await t.patch(`${path}/a`, "json", good)).body.spec?.size).toBe(7);
    const bad = [
      { op: "add", path: "/spec/size", value: 8 },
      { op: "test", path: "/spec/color", value: "blue" },
    ];
    expect((await t.patch(`${path}/a`, "json", bad)).status).toBe(422);
    expect((await t.get(`${path}/a`)).body.spec?.size).toBe(7);
  });

  add("a merge patch removes what is null", async (t) => {
    const path = await t.widgets();
    await t.post(path, widget("a", { name: "abc" }));
    const { body } = await t.patch(`${path}/a`, "merge", { spec: { name: null } });
    expect(body.spec?.name).toBeUndefined();
  });

  add("a patch with an old version is 409", async (t) => {
    const path = await t.widgets();
    const made = (await t.post(path, widget("a"))).body;
    await t.patch(`${path}/a`, "merge", { spec: { size: 5 } });
    const patch = {
      metadata: { resourceVersion: made.metadata?.resourceVersion },
      spec: { size: 6 },
    };
    expect((await t.patch(`${path}/a`, "merge", patch)).status).toBe(409);
  });

  add("a strategic merge patch merges containers and environment by name", async (t) => {
    const ns = await t.namespace();
    const path = `/api/v1/namespaces/${ns}/configmaps`;
    await t.post(path, configMap("c", { a: "1" }, { finalizers: ["contract.argus.dev/a"] }));
    const patch = { metadata: { finalizers: ["contract.argus.dev/b"] }, data: { b: "2" } };
    const { body } = await t.patch(`${path}/c`, "strategic", patch);
    expect(body.data).toEqual({ a: "1", b: "2" });
    expect(listOf<string>(body.metadata?.finalizers).toSorted()).toEqual([
      "contract.argus.dev/a",
      "contract.argus.dev/b",
    ]);
    await t.patch(`${path}/c`, "merge", { metadata: { finalizers: null } });
    const pods = `/api/v1/namespaces/${ns}/pods`;
    await t.post(
      pods,
      pod("p", {
        containers: [
          { name: "a", image: "x:1" },
          { name: "b", image: "y:1" },
        ],
      }),
    );
    const containers = [{ name: "b", image: "y:2" }];
    const patched = (await t.patch(`${pods}/p`, "strategic", { spec: { containers } })).body;
    const images = listOf<{ image: string }>(patched.spec?.containers).map(({ image }) => image);
    expect(images).toEqual(["x:1", "y:2"]);
  });

  add("a strategic merge patch of a custom resource is 415", async (t) => {
    const path = await t.widgets();
    await t.post(path, widget("a"));
    expect((await t.patch(`${path}/a`, "strategic", { spec: { size: 4 } })).status).toBe(415);
  });

  add("dryRun=All answers the result and stores nothing", async (t) => {
    const path = await t.widgets();
    const { status, body } = await t.post(`${path}?dryRun=All`, widget("a"));
    expect([status, body.spec?.size]).toEqual([201, 3]);
    expect((await t.get(`${path}/a`)).status).toBe(404);
  });

  add("fieldValidation: Strict refuses, Warn warns, Ignore is silent", async (t) => {
    const path = await t.widgets();
    const odd = widget("a", { colour: "red" });
    const strict = await t.post(`${path}?fieldValidation=Strict`, odd);
    expect(strict.status).toBe(400);
    expect(strict.body.message).toContain('strict decoding error: unknown field "spec.colour"');
    const warned = await t.post(`${path}?fieldValidation=Warn&dryRun=All`, odd);
    expect([warned.status, String(warned.headers.warning)]).toEqual([
      201,
      '299 - "unknown field \\"spec.colour\\""',
    ]);
    const ignored = await t.post(`${path}?fieldValidation=Ignore`, odd);
    expect([ignored.status, ignored.headers.warning, ignored.body.spec?.colour]).toEqual([
      201,
      undefined,
      undefined,
    ]);
  });

  add("fieldValidation holds for built-in kinds too", async (t) => {
    const ns = await t.namespace();
    const odd = pod("p", { restartPolice: "Never" });
    const { status, body } = await t.post(
      `/api/v1/namespaces/${ns}/pods?fieldValidation=Strict`,
      odd,
    );
    expect(status).toBe(400);
    expect(body.message).toContain('unknown field "spec.restartPolice"');
  });

  add("a pod gets its defaults and starts Pending", async (t) => {
    const ns = await t.namespace();
    const { body } = await t.post(`/api/v1/namespaces/${ns}/pods`, pod("p"));
    expect(body.spec).toMatchObject({
      restartPolicy: "Always",
      terminationGracePeriodSeconds: 30,
      serviceAccountName: "default",
      dnsPolicy: "ClusterFirst",
    });
    expect(body.spec?.containers?.[0]).toMatchObject({
      imagePullPolicy: "IfNotPresent",
      terminationMessagePath: "/dev/termination-log",
    });
    expect(body.status).toMatchObject({ phase: "Pending", qosClass: "BestEffort" });
  });

  add("a pod without containers or image is a 422 that names the field", async (t) => {
    const ns = await t.namespace();
    const path = `/api/v1/namespaces/${ns}/pods`;
    const none = await t.post(path, pod("p", { containers: [] }));
    expect([none.status, none.body.details?.causes?.[0]?.field]).toEqual([422, "spec.containers"]);
    const bare = await t.post(path, pod("p", { containers: [{ name: "a" }] }));
    expect([bare.status, bare.body.details?.causes?.[0]?.field]).toEqual([
      422,
      "spec.containers[0].image",
    ]);
  });

  add("a pod's spec is fixed but for images", async (t) => {
    const ns = await t.namespace();
    const path = `/api/v1/namespaces/${ns}/pods`;
    await t.post(path, pod("p"));
    const { status, body } = await t.patch(`${path}/p`, "merge", {
      spec: { restartPolicy: "Never" },
    });
    expect([status, body.details?.causes?.[0]?.field]).toEqual([422, "spec"]);
  });

  add("a pod of an unknown service account is 403", async (t) => {
    const ns = await t.namespace();
    const { status } = await t.post(
      `/api/v1/namespaces/${ns}/pods`,
      pod("p", { serviceAccountName: "nobody" }),
    );
    expect(status).toBe(403);
  });

  add("a claim needs access modes and a size", async (t) => {
    const ns = await t.namespace();
    const path = `/api/v1/namespaces/${ns}/persistentvolumeclaims`;
    const { status, body } = await t.post(path, { metadata: { name: "c" }, spec: {} });
    const fields = listOf<{ field: string }>(body.details?.causes).map(({ field }) => field);
    expect(status).toBe(422);
    expect(fields).toEqual(expect.arrayContaining(["spec.accessModes", "spec.resources[storage]"]));
  });

  add("a claim is bound", async (t) => {
    const ns = await t.namespace();
    const path = `/api/v1/namespaces/${ns}/persistentvolumeclaims`;
    const spec = { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } };
    await t.post(path, { metadata: { name: "c" }, spec });
    await t.until(async () => textOf((await t.get(`${path}/c`)).body.status?.phase) === "Bound");
    expect((await t.get(`${path}/c`)).body.status?.capacity).toEqual({ storage: "1Gi" });
  });

  add("a secret keeps stringData as data", async (t) => {
    const ns = await t.namespace();
    const { body } = await t.post(`/api/v1/namespaces/${ns}/secrets`, {
      metadata: { name: "s" },
      stringData: { a: "b" },
    });
    expect([body.data, body.stringData, body.type]).toEqual([{ a: "Yg==" }, undefined, "Opaque"]);
  });

  add("managedFields record who updated what", async (t) => {
    const path = await t.widgets();
    await t.post(`${path}?fieldManager=maker`, widget("a"));
    const full = `${path}/a?fieldManager=changer`;
    const contentType = "application/merge-patch+json";
    const { body } = await t.send("PATCH", full, { body: { spec: { size: 5 } }, contentType });
    const entries = body.metadata?.managedFields as unknown as {
      manager: string;
      fieldsV1: object;
    }[];
    const by = (manager: string) =>
      JSON.stringify(entries.find((each) => each.manager === manager)?.fieldsV1);
    expect(by("changer")).toBe('{"f:spec":{"f:size":{}}}');
    expect(by("maker")).toContain('"f:color"');
    expect(by("maker")).not.toContain('"f:size"');
  });
}
