import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { beforeAll, describe, expect, test } from "vitest";
import type { Pod } from "#cluster/core-types.ts";
import { readAudit } from "#test/cluster/audit.ts";
import { type Cluster, useCluster, whyNoCluster } from "#test/cluster/cluster.ts";
import { CHART } from "#test/support/chart.ts";
import { eventually } from "#test/support/eventually.ts";
import { HELMS } from "#test/support/helm.ts";
import { provideImages, whyNoImages } from "#test/support/images.ts";
import { kubectlPath } from "#test/support/kubectl.ts";
import { askedBy, compareRights, grantedTo } from "#test/support/rbac.ts";
import { laterChart, Release } from "#test/support/release.ts";
import { runProgram } from "#test/support/run-program.ts";

const ROOT = join(import.meta.dirname, "..", "..");
interface Images {
  image?: { repository: string };
  runtimeImage?: { repository: string };
}

const START_MS = 1_200_000;
const reason = whyNoCluster() ?? (process.env.KUBECONFIG ? undefined : await whyNoImages());

if (reason) test.skip(`a release on a real cluster (${reason})`, () => {});
else
  describe("a release on a real cluster", () => {
    let cluster: Cluster;
    let images: Images = {};
    beforeAll(async () => {
      cluster = await useCluster();
      const names = await provideImages(cluster);
      const repository = (name: string) => name.slice(0, name.lastIndexOf(":"));
      images = {
        image: { repository: repository(names.argus) },
        runtimeImage: { repository: repository(names["argus-runtime"]) },
      };
    }, START_MS);

    test.for(HELMS)(
      "%s: install, talk, upgrade, roll back, uninstall",
      { timeout: 600_000 },
      async (version) => {
        const namespace = `e2e-${version}`;
        const argus = new Release({ version, kubeconfig: cluster.kubeconfig, namespace });
        await argus.makeNamespace();
        const wait = ["--wait", "--timeout", "3m"];
        const installed = await argus.helm("install", [CHART, ...wait], images);
        expect(installed.stderr).not.toMatch(/would violate/);
        await argus.helm("test", ["--timeout", "2m"]);
        await argus.ok(["apply", "-f", join(ROOT, "examples", "session.yaml")]);
        await argus.ok(["wait", "--for=condition=Ready", "argussession/demo", "--timeout=150s"]);
        expect(await say(cluster, argus, "hello from outside")).toContain("hello from outside");
        const before = await podOf(argus);

        const later = await laterChart("9.9.9");
        try {
          // Sessions keep the image that they started with; the new one need not even be there yet.
          await argus.helm("upgrade", [later.path, ...wait], withTag(images, "9.9.9"));
        } finally {
          await later.remove();
        }
        await eventually("the new field is served", async () => {
          return (await argus.run(["explain", "argussession.spec.laterField"])).code === 0;
        });
        expect(await say(cluster, argus, "after the upgrade")).toContain("after the upgrade");
        expect(await podOf(argus)).toEqual(before);
        await updateAvailable(argus, "True");

        await argus.helm("rollback", ["1", ...wait]);
        expect(await say(cluster, argus, "and back")).toContain("and back");
        expect(await podOf(argus)).toEqual(before);
        await updateAvailable(argus, "False");
        await rightsHold(cluster, argus);

        await argus.helm("uninstall", wait);
        const left = await argus.ok(["get", "argussessions,pvc,pods", "-o", "name"]);
        expect(left).toContain("argussession.argus.dev/demo");
        expect(left).toContain("persistentvolumeclaim/state-argus-gateway-0");
        expect(await podOf(argus)).toEqual(before);

        await argus.helm("install", [CHART, ...wait], images);
        await argus.ok(["wait", "--for=condition=Ready", "argussession/demo", "--timeout=150s"]);
        expect(await podOf(argus)).toEqual(before);
        await argus.ok(["delete", "argussessions", "--all", "--timeout=120s"]);
        await argus.helm("uninstall", wait);
        await argus.ok(["delete", "namespace", namespace, "--timeout=180s"]);
        await argus.ok(["delete", "crd", "argussessions.argus.dev", "arguscrons.argus.dev"]);
      },
    );
  });

/** Which pod the session has, and whether it was ever started anew. */
async function podOf(argus: Release): Promise<{ uid: string | undefined; restarts: unknown }> {
  const list = await argus.ok(["get", "pods", "-l", "argus.dev/session=demo", "-o", "json"]);
  const [pod] = (JSON.parse(list) as { items: Pod[] }).items;
  const [agent] = pod?.status?.containerStatuses ?? [];
  return { uid: pod?.metadata.uid, restarts: agent?.restartCount };
}

/** The values with another tag for session pods. */
function withTag(images: Images, tag: string): object {
  return { ...images, runtimeImage: { ...images.runtimeImage, tag } };
}

async function updateAvailable(argus: Release, status: string): Promise<void> {
  const condition = `--for=condition=UpdateAvailable=${status}`;
  await argus.ok(["wait", condition, "argussession/demo", "--timeout=60s"]);
}

/** One turn through the Service, by the client that people use. */
async function say(cluster: Cluster, argus: Release, message: string): Promise<string> {
  const forward = await portForward(cluster, argus);
  try {
    const secret = ["get", "secret", "argus-admin", "-o", "jsonpath={.data.token}"];
    const token = Buffer.from(await argus.ok(secret), "base64").toString();
    const url = `http://127.0.0.1:${forward.port}`;
    const args = ["cli/argus.ts", "chat", "demo", "--message", message, "--url", url];
    const env = { ...process.env, ARGUS_TOKEN: token };
    const options = { cwd: ROOT, env, timeoutMs: 120_000 };
    const { code, stdout, stderr } = await runProgram(process.execPath, args, options);
    expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
    return stdout;
  } finally {
    forward.child.kill();
    await once(forward.child, "exit");
  }
}

async function portForward(
  { kubeconfig }: Cluster,
  { namespace }: Release,
): Promise<{ child: ChildProcess; port: string }> {
  const args = ["-n", namespace, "port-forward", "service/argus-gateway", ":8080"];
  // Without a HOME kubectl keeps its cache in the working directory.
  const env = { PATH: process.env.PATH, HOME: dirname(kubeconfig), KUBECONFIG: kubeconfig };
  const child = spawn(await kubectlPath(), args, { env, stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface({ input: child.stdout });
  const [line] = (await Promise.race([once(lines, "line"), once(child, "exit")])) as [unknown];
  const port = /127\.0\.0\.1:(\d+)/.exec(String(line))?.[1];
  if (!port) throw new Error(`no port is forwarded: ${String(line)}`);
  return { child, port };
}

/** By the audit log: nothing was refused and nothing asked for that the chart does not grant. */
async function rightsHold({ own }: Cluster, argus: Release): Promise<void> {
  if (!own) return;
  const manifest = await argus.manifest();
  const { entries } = await readAudit(own.auditLog);
  for (const name of ["argus-controller", "argus-gateway"]) {
    const asked = askedBy(entries, { namespace: argus.namespace, name });
    expect(asked.length).toBeGreaterThan(5);
    const { missing, refused } = compareRights(grantedTo(manifest, name), asked);
    expect({ name, missing, refused }).toEqual({ name, missing: [], refused: [] });
  }
}
