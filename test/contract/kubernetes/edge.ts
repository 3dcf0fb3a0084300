import { expect } from "vitest";
import { eventually } from "#test/support/eventually.ts";
import type { Case } from "../kubernetes.ts";
import { configMap, SESSIONS, textOf } from "./tools.ts";

export function edgeCases(add: Case): void {
  add("health and version need no token", async (t) => {
    for (const path of ["/livez", "/readyz", "/healthz"]) {
      expect((await t.get(path, { token: null, accept: "*/*" })).text).toBe("ok");
    }
    expect((await t.get("/version", { token: null })).body.major).toBe("1");
  });

  add("a wrong token is a 401 Status", async (t) => {
    const { status, body } = await t.get("/api/v1/pods", { token: "wrong" });
    expect(status).toBe(401);
    expect(body).toMatchObject({
      kind: "Status",
      status: "Failure",
      reason: "Unauthorized",
      code: 401,
    });
  });

  add("discovery lists groups, versions and resources", async (t) => {
    const groups = (await t.get("/apis")).body.groups as unknown as { name: string }[];
    expect(groups?.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["argus.dev", "apiextensions.k8s.io", "coordination.k8s.io"]),
    );
    expect((await t.get("/apis/argus.dev")).body.preferredVersion?.version).toBe("v1alpha1");
    const { resources } = (await t.get(SESSIONS)).body as unknown as {
      resources: { name: string }[];
    };
    const sessions = resources.find(({ name }) => name === "argussessions");
    expect(sessions).toMatchObject({
      kind: "ArgusSession",
      namespaced: true,
      shortNames: ["asess"],
    });
    expect(resources.some(({ name }) => name === "argussessions/status")).toBe(true);
  });

  add("aggregated discovery answers all resources in one document", async (t) => {
    const accept =
      "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    const { body, headers } = await t.get("/apis", { accept });
    expect(headers["content-type"]).toContain("as=APIGroupDiscoveryList");
    const items = body.items as unknown as {
      metadata: { name: string };
      versions: { resources: object[] }[];
    }[];
    const group = items.find(({ metadata }) => metadata.name === "contract.argus.dev");
    expect(group?.versions[0]?.resources[0]).toMatchObject({
      resource: "widgets",
      scope: "Namespaced",
      responseKind: { kind: "Widget" },
    });
  });

  add("OpenAPI v3 has a document for each group and version", async (t) => {
    const widget = async () => {
      const { paths } = (await t.get("/openapi/v3")).body as unknown as {
        paths: Record<string, { serverRelativeURL: string }>;
      };
      const url = paths["apis/contract.argus.dev/v1"]?.serverRelativeURL ?? "";
      const { body } = await t.get(url);
      const schemas = Object.values(body.components?.schemas ?? {});
      return schemas.find(
        (each) => textOf(each["x-kubernetes-group-version-kind"]?.[0]?.kind) === "Widget",
      );
    };
    // A real server publishes a definition's schema a moment after it serves the kind.
    const found = await eventually("the kind is described", widget);
    expect(found.properties?.spec?.properties?.color?.enum).toEqual(["red", "blue"]);
  });

  add("an unknown path and an unknown resource are 404", async (t) => {
    expect((await t.get("/api/v1/nothings")).status).toBe(404);
    expect((await t.get("/apis/nowhere.test/v1")).status).toBe(404);
  });

  add("malformed JSON is a 400 Status", async (t) => {
    const ns = await t.namespace();
    const { status, body } = await t.post(`/api/v1/namespaces/${ns}/configmaps`, '{"metadata":');
    expect([status, body.reason]).toEqual([400, "BadRequest"]);
  });

  add("a YAML body is read", async (t) => {
    const ns = await t.namespace();
    const text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: b}\n";
    const made = await t.post(`/api/v1/namespaces/${ns}/configmaps`, text, {
      contentType: "application/yaml",
    });
    expect([made.status, made.body.data?.a]).toEqual([201, "b"]);
  });

  add("a YAML body is YAML 1.1: y is a truth value, not a text", async (t) => {
    const ns = await t.namespace();
    const text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: y}\n";
    const { status } = await t.post(`/api/v1/namespaces/${ns}/configmaps`, text, {
      contentType: "application/yaml",
    });
    expect(status).toBe(400);
  });

  add("an unknown media type is 415", async (t) => {
    const ns = await t.namespace();
    const path = `/api/v1/namespaces/${ns}/configmaps`;
    expect((await t.post(path, "<a/>", { contentType: "application/xml" })).status).toBe(415);
  });

  add("a body above 3 MiB is 413", async (t) => {
    const ns = await t.namespace();
    const big = configMap("big", { a: "x".repeat(3 * 1024 * 1024 + 1) });
    const { status } = await t.post(`/api/v1/namespaces/${ns}/configmaps`, big);
    expect(status).toBe(413);
    expect((await t.get("/readyz", { accept: "*/*" })).status).toBe(200);
  });

  add("a method that the resource does not have is 405", async (t) => {
    expect((await t.send("DELETE", "/api/v1/pods")).status).toBe(405);
    expect((await t.send("PUT", "/api/v1/namespaces")).status).toBe(405);
  });

  add("only unacceptable media types are 406", async (t) => {
    expect((await t.get("/api/v1/namespaces", { accept: "text/html" })).status).toBe(406);
  });
}
