import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { createKubeClient } from "#cluster/client.ts";
import { openConfigMapStore } from "#gateway/store/configmap.ts";
import { silentLogger } from "#lib/logger.ts";
import { kubeconfigYaml } from "#localcluster/kubeconfig.ts";
import { readAudit } from "#test/cluster/audit.ts";
import { whyNoControlPlane } from "#test/cluster/binaries.ts";
import { startControlPlane } from "#test/cluster/control-plane.ts";
import { CHART, RELEASE, render } from "#test/support/chart.ts";
import { eventually } from "#test/support/eventually.ts";
import { askedBy, grantedTo, wordsOf } from "#test/support/rbac.ts";
import { Release } from "#test/support/release.ts";

const NAMESPACE = "store-rights";
const account = `${RELEASE}-gateway`;
const reason = whyNoControlPlane();

test.skipIf(reason)(
  "the gateway's account can keep the state in ConfigMaps, and asks for each right that it has for that",
  {
    timeout: 120_000,
  },
  async () => {
    const plane = await startControlPlane({ controllerManager: false });
    const folder = await mkdtemp(join(tmpdir(), "argus-store-rights-"));
    try {
      const kubeconfig = plane.kubeconfig();
      const argus = new Release({ version: "helm4", kubeconfig, namespace: NAMESPACE });
      await argus.makeNamespace();
      await argus.helm("install", [CHART, "--set", "gateway.store.kind=configmap"]);
      const token = (await argus.ok(["create", "token", account])).trim();
      const { server, caPem } = plane;
      const own = join(folder, "kubeconfig");
      const access = { server, caPem, token, user: account, namespace: NAMESPACE };
      await writeFile(own, kubeconfigYaml(access), { mode: 0o600 });
      const kube = await createKubeClient({ kubeconfig: own, logger: silentLogger() });
      const options = { kube, namespace: NAMESPACE, name: "the test" };
      const store = await openConfigMapStore(options, new AbortController().signal);
      expect(await store.commit("a", 0, { n: 1 })).toBe(1);
      expect(await store.commit("a", 1, { n: 2 })).toBe(2);
      expect(await store.list()).toEqual([{ uid: "a", version: 2 }]);
      await store.remove("a", 2);
      await store.close();
      await kube.close();
      const wanted = grantedTo(await argus.manifest(), account)
        .filter(({ resource, name }) => resource === "configmaps" && name === undefined)
        .map(({ verb }) => verb);
      await eventually("a full log", async () => {
        const { entries } = await readAudit(plane.auditLog);
        const asked = askedBy(entries, { namespace: NAMESPACE, name: account });
        const verbs = new Set(asked.map(({ verb }) => verb));
        return wanted.every((verb) => verbs.has(verb)) && verbs.size === wanted.length;
      });
    } finally {
      await plane.close();
      await rm(folder, { recursive: true });
    }
  },
);

test("without that choice the gateway may write one ConfigMap only, and needs no volume with it", async () => {
  const rights = (objects: Awaited<ReturnType<typeof render>>) =>
    grantedTo(objects, account)
      .filter(({ resource }) => resource === "configmaps")
      .map(wordsOf);
  const usual = await render();
  expect(rights(usual).every((words) => words.includes('"argus-gateway-keys"'))).toBe(true);
  const chosen = await render({ gateway: { store: { kind: "configmap" } } });
  expect(rights(chosen)).toHaveLength(2 + 5);
  const set = chosen.find(({ kind }) => kind === "StatefulSet");
  expect(JSON.stringify(set)).not.toContain("/var/lib/argus");
  expect(JSON.stringify(set)).not.toContain("volumeClaimTemplates");
});
