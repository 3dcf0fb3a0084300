import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildPrograms, programPath, whyNoControlPlane } from "#test/cluster/binaries.ts";
import { type ControlPlane, startControlPlane } from "#test/cluster/control-plane.ts";
import { CHART, type Rendered, readObjects, render } from "#test/support/chart.ts";
import { eventually } from "#test/support/eventually.ts";
import { HELMS, type Helm } from "#test/support/helm.ts";
import { writeSchemas } from "#test/support/openapi-schemas.ts";
import { laterChart, Release } from "#test/support/release.ts";
import { runProgram } from "#test/support/run-program.ts";
import { workloads } from "./rules.ts";
import { VALUE_SETS } from "./value-sets.ts";

const reason = whyNoControlPlane();
const session = (name: string, spec: object = {}) =>
  JSON.stringify({
    apiVersion: "argus.dev/v1alpha1",
    kind: "ArgusSession",
    metadata: { name },
    spec,
  });
/** Kinds of operators that a bare Kubernetes does not have. */
const FOREIGN_KINDS = ["ServiceMonitor", "HTTPRoute"];
const DIGEST = `mirror.example.org/argus@sha256:${"a".repeat(64)}`;

if (reason) test.skip(`the chart on a real API server (${reason})`, () => {});
else
  describe("the chart on a real API server", () => {
    let plane: ControlPlane;
    beforeAll(async () => {
      await buildPrograms(["kubeconform"], () => {});
      plane = await startControlPlane({ controllers: ["*"] });
    });
    afterAll(() => plane?.close());
    const release = (version: Helm, namespace: string) =>
      new Release({ version, kubeconfig: plane.kubeconfig(), namespace });

    test.for(HELMS)(
      "%s: a bot that asks becomes one that is posted to, and back",
      async (version) => {
        const argus = release(version, `bot-${version}`);
        await argus.makeNamespace();
        const bot = { enabled: true, token: "123456:secret-of-botfather" };
        const look = async () => {
          const { spec } = await argus.get<{
            spec: { replicas: number; strategy: { type: string } };
          }>("deployment/argus-telegram");
          const lease = await argus.run(["get", "lease/argus-telegram"]);
          const binding = await argus.run(["get", "rolebinding/argus-telegram"]);
          return [spec.replicas, spec.strategy.type, lease.code === 0, binding.code === 0];
        };
        const asking = [2, "RollingUpdate", true, true];
        await argus.helm("install", [CHART], { telegram: { ...bot, replicas: 2 } });
        expect(await look()).toEqual(asking);
        // What its holder writes is not the chart's: an upgrade leaves it.
        const held = JSON.stringify({ spec: { holderIdentity: "pod-1" } });
        await argus.ok(["patch", "lease", "argus-telegram", "--type=merge", "-p", held]);
        await argus.helm("upgrade", [CHART], {
          telegram: { ...bot, replicas: 2, session: "other" },
        });
        const lease = await argus.get<{ spec: object }>("lease/argus-telegram");
        expect(lease.spec).toMatchObject({ holderIdentity: "pod-1" });
        const webhook = "https://bot.example.org/hook";
        await argus.helm("upgrade", [CHART], { telegram: { ...bot, webhook } });
        expect(await look()).toEqual([1, "Recreate", true, true]);
        await argus.helm("upgrade", [CHART], { telegram: { ...bot, replicas: 2 } });
        expect(await look()).toEqual(asking);
        await argus.helm("uninstall");
        await argus.ok(["delete", "crd", "argussessions.argus.dev", "arguscrons.argus.dev"]);
      },
    );

    test.for(HELMS)("%s: install, upgrade, rollback, uninstall, install again", async (version) => {
      const argus = release(version, `life-${version}`);
      await argus.makeNamespace();
      const installed = await argus.helm("install", [CHART]);
      expect(installed.stderr).not.toMatch(/would violate/);
      expect(installed.stdout).toContain("kind: ArgusSession");
      const token = await argus.ok([
        "get",
        "secret",
        "argus-admin",
        "-o",
        "jsonpath={.data.token}",
      ]);
      expect(Buffer.from(token, "base64").toString()).toMatch(/^[A-Za-z0-9]{43}$/);
      await argus.ok(["apply", "-f", "-"], session("main"));

      const later = await laterChart("9.9.9");
      try {
        await argus.helm("upgrade", [later.path]);
        await served(argus, "laterField", true);
        await argus.ok(["apply", "-f", "-"], session("later", { laterField: "kept" }));
        const kept = await argus.get<{ spec: { laterField?: string } }>("argussession/later");
        expect(kept.spec.laterField).toBe("kept");
      } finally {
        await later.remove();
      }
      expect(await argus.ok(["get", "secret", "argus-admin", "-o", "jsonpath={.data.token}"])).toBe(
        token,
      );

      await argus.helm("rollback", ["1"]);
      await served(argus, "laterField", false);
      await eventually("the gateway's volume is claimed", async () => {
        const claims = await argus.ok(["get", "pvc", "-o", "name"]);
        return claims.includes("state-argus-gateway-0");
      });

      const gone = await argus.helm("uninstall");
      expect(gone.stdout).toMatch(/kept due to the resource policy/);
      const left = await argus.ok(["get", "argussessions,pvc", "-o", "name"]);
      expect(left.trim().split("\n").sort()).toEqual([
        "argussession.argus.dev/later",
        "argussession.argus.dev/main",
        "persistentvolumeclaim/state-argus-gateway-0",
      ]);
      for (const what of ["deployment", "statefulset", "role", "rolebinding", "networkpolicy"]) {
        expect(await argus.ok(["get", what, "-o", "name"])).toBe("");
      }

      await argus.helm("install", [CHART]);
      await argus.ok(["get", "argussession", "main"]);
      await argus.helm("uninstall");
      await argus.ok(["delete", "namespace", argus.namespace, "--wait=false"]);
      await removeDefinitions(argus);
    });

    test("an install of helm 3 is upgraded by helm 4 and the other way round", async () => {
      const three = release("helm3", "both");
      const four = release("helm4", "both");
      await three.makeNamespace();
      await three.helm("install", [CHART]);
      await four.helm("upgrade", [CHART], { controller: { replicas: 2 } });
      expect(await four.ok(["get", "deploy", "-o", "jsonpath={.items[0].spec.replicas}"])).toBe(
        "2",
      );
      await three.helm("upgrade", [CHART], { controller: { replicas: 1 } });
      expect(await three.ok(["get", "deploy", "-o", "jsonpath={.items[0].spec.replicas}"])).toBe(
        "1",
      );
      await three.helm("uninstall");
      await removeDefinitions(three);
    });

    test("definitions that somebody else installed are adopted", async () => {
      const argus = release("helm4", "adopted");
      await argus.makeNamespace();
      await argus.ok(["apply", "-f", "crds/"]);
      await argus.helm("install", [CHART, "--take-ownership", "--force-conflicts"]);
      await argus.helm("uninstall");
      await removeDefinitions(argus);
    });

    test.for(Object.entries(VALUE_SETS))(
      "the API server takes every object: %s",
      async ([, values]) => {
        const argus = release("helm4", "assistants");
        await argus.run(["create", "namespace", "assistants"]);
        // The account of the test's pod must be there even when nothing is written.
        await argus.run(["create", "serviceaccount", "argus-session", "--save-config"]);
        const objects = (await render(values)).filter(({ kind }) => !FOREIGN_KINDS.includes(kind));
        const list = JSON.stringify({ apiVersion: "v1", kind: "List", items: objects });
        const { code, stderr } = await argus.run(
          ["apply", "--dry-run=server", "--validate=strict", "-f", "-"],
          list,
        );
        expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      },
    );

    test("kubeconform, with this server's schemas, finds nothing and skips nothing", async () => {
      const argus = release("helm4", "default");
      await argus.ok(["apply", "-f", "crds/"]);
      const folder = await mkdtemp(join(tmpdir(), "argus-schemas-"));
      try {
        const openapi = await eventually("our kinds are described", async () => {
          const text = await argus.ok(["get", "--raw", "/openapi/v2"]);
          return text.includes('"kind":"ArgusSession"') && text;
        });
        const location = await writeSchemas(folder, openapi);
        const args = ["-strict", "-output", "json", "-summary", "-schema-location", location, "-"];
        const check = async (objects: unknown[]) => {
          const input = objects.map((object) => JSON.stringify(object)).join("\n---\n");
          const { stdout } = await runProgram(programPath("kubeconform"), args, { input });
          return JSON.parse(stdout) as { resources: object[] | null; summary: object };
        };
        const examples = ["session", "codex"].map((name) => `examples/${name}.yaml`);
        const sessions = (
          await Promise.all(examples.map((path) => readFile(path, "utf8")))
        ).flatMap(readObjects);
        for (const values of Object.values(VALUE_SETS)) {
          const all = [...(await render(values, { crds: true })), ...sessions];
          const objects = all.filter(({ kind }) => !FOREIGN_KINDS.includes(kind));
          expect(await check(objects)).toEqual({
            resources: [],
            summary: { valid: objects.length, invalid: 0, errors: 0, skipped: 0 },
          });
        }
        const [wrong] = await render();
        const { summary } = await check([{ ...wrong, speck: {} }]);
        expect(summary).toMatchObject({ valid: 0, invalid: 1 });
      } finally {
        await rm(folder, { recursive: true });
      }
    });

    test("every pod of the chart is admitted where only restricted pods are", async () => {
      const argus = release("helm4", "restricted");
      await argus.makeNamespace();
      const objects = await render();
      for (const account of objects.filter(({ kind }) => kind === "ServiceAccount")) {
        await argus.ok(["apply", "-f", "-"], JSON.stringify(inside(account, "restricted")));
      }
      for (const { where, pod } of workloads(objects)) {
        const name = where.toLowerCase().replace(" ", "-");
        const object = { apiVersion: "v1", kind: "Pod", metadata: { name }, spec: claimed(pod) };
        const { code, stderr } = await argus.run(
          ["create", "--dry-run=server", "-f", "-"],
          JSON.stringify(object),
        );
        expect({ where, code, stderr }).toEqual({ where, code: 0, stderr: "" });
      }
    });

    test("the admission policy takes what it should and refuses the rest in words", async () => {
      const argus = release("helm4", "guarded");
      await argus.makeNamespace();
      const values = {
        admissionPolicy: {
          enabled: true,
          requireDigest: true,
          allowedImages: ["mirror.example.org/"],
          requireLimits: true,
        },
        quota: { enabled: true, sessions: 2, crons: 1 },
        crds: { enabled: false },
      };
      await argus.ok(["apply", "-f", "crds/"]);
      await argus.helm("install", [CHART], values);
      const resources = { limits: { cpu: "1", memory: "1Gi" } };
      const create = (name: string, spec: object) =>
        argus.run(["create", "-f", "-"], session(name, spec));
      const refused: [spec: object, words: RegExp][] = [
        [
          { resources, runtime: { image: "mirror.example.org/argus:1" } },
          /named by digest.*argus:1/,
        ],
        [
          { resources, runtime: { image: `other.example.org/a@${DIGEST.split("@")[1]}` } },
          /may be used/,
        ],
        [{ runtime: { image: DIGEST } }, /spec\.resources\.limits must name cpu and memory/],
        [
          { resources, podTemplate: { spec: { containers: [{ name: "agent", image: "x:1" }] } } },
          /named by digest/,
        ],
        [
          { resources, podTemplate: { spec: { initContainers: [{ name: "i", image: "x:1" }] } } },
          /named by digest/,
        ],
      ];
      // A new policy takes effect after some seconds.
      await eventually("the policy is in force", async () => {
        const dry = ["create", "--dry-run=server", "-f", "-"];
        return (await argus.run(dry, session("probe"))).code !== 0;
      });
      for (const [spec, words] of refused) {
        const { code, stderr } = await create("no", spec);
        expect({ spec, code, stderr }).toEqual({
          spec,
          code: 1,
          stderr: expect.stringMatching(words),
        });
      }
      for (const name of ["one", "two"]) {
        expect(await create(name, { resources, runtime: { image: DIGEST } })).toMatchObject({
          code: 0,
        });
      }
      const third = await create("three", { resources });
      expect(third.stderr).toMatch(/exceeded quota: argus.*count\/argussessions/);
      await argus.helm("uninstall");
    });

    test("people with the roles view and edit reach what they should and no more", async () => {
      const argus = release("helm4", "people");
      await argus.makeNamespace();
      await argus.ok(["apply", "-f", "crds/"]);
      await argus.helm("install", [CHART], { crds: { enabled: false } });
      for (const role of ["view", "edit"]) {
        await argus.ok([
          "create",
          "rolebinding",
          role,
          `--clusterrole=${role}`,
          `--user=${role}er`,
        ]);
      }
      const may = async (user: string, ...what: string[]) =>
        (await argus.run(["auth", "can-i", ...what, `--as=${user}`])).stdout.trim() === "yes";
      await eventually("the roles are aggregated", () => may("editer", "create", "argussessions"));
      expect(await may("viewer", "list", "arguscrons")).toBe(true);
      expect(await may("viewer", "get", "argussessions", "--subresource=status")).toBe(true);
      expect(await may("viewer", "create", "argussessions")).toBe(false);
      expect(await may("editer", "delete", "arguscrons")).toBe(true);
      expect(await may("editer", "patch", "argussessions", "--subresource=status")).toBe(false);
      await argus.helm("uninstall");
    });
  });

async function removeDefinitions(argus: Release): Promise<void> {
  await argus.ok(["delete", "crd", "argussessions.argus.dev", "arguscrons.argus.dev"]);
}

/** Whether the served definition of ArgusSession has this field; the API server needs a moment. */
async function served(argus: Release, field: string, wanted: boolean): Promise<void> {
  await eventually(`${field} is ${wanted ? "" : "not "}served`, async () => {
    const { stdout } = await argus.run(["explain", `argussession.spec.${field}`]);
    return stdout.includes(`FIELD: ${field}`) === wanted;
  });
}

const inside = (object: Rendered, namespace: string): Rendered => ({
  ...object,
  metadata: { ...object.metadata, namespace },
});

/** A StatefulSet would bring the volume of its claim. */
const claimed = (pod: ReturnType<typeof workloads>[number]["pod"]) => ({
  ...pod,
  volumes: [
    ...(pod.volumes ?? []),
    { name: "state", persistentVolumeClaim: { claimName: "state-argus-gateway-0" } },
  ],
});
