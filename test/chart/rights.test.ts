import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createKubeClient } from "#cluster/client.ts";
import type { Pod } from "#cluster/core-types.ts";
import { argusSessions, persistentVolumeClaims, pods } from "#cluster/resources.ts";
import type { KubeClient, KubeObject } from "#cluster/types.ts";
import { startController } from "#controller/controller.ts";
import type { ArgusCronStatus } from "#crds/argus-cron.ts";
import { API_VERSION, type ArgusSession } from "#crds/kinds.ts";
import { startGateway } from "#gateway/gateway.ts";
import { silentLogger } from "#lib/logger.ts";
import type { Listening, Running } from "#lib/running.ts";
import { kubeconfigYaml } from "#localcluster/kubeconfig.ts";
import { GATEWAY_AUDIENCE, POD } from "#protocol/pod.ts";
import { readAudit } from "#test/cluster/audit.ts";
import { whyNoControlPlane } from "#test/cluster/binaries.ts";
import { type ControlPlane, startControlPlane } from "#test/cluster/control-plane.ts";
import { CHART, RELEASE } from "#test/support/chart.ts";
import { readyStatus } from "#test/support/controller-rig.ts";
import { eventually as within } from "#test/support/eventually.ts";
import { askedBy, compareRights, grantedTo } from "#test/support/rbac.ts";
import { Release } from "#test/support/release.ts";
import { WsClient } from "#test/support/ws-client.ts";

const NAMESPACE = "rights";
const ADMIN = "admin-token-of-the-tests";
const reason = whyNoControlPlane();
const WAIT_MS = 15_000;
const SLOT_MS = 75_000;
const eventually: typeof within = (what, probe) => within(what, probe, WAIT_MS);

if (reason) test.skip(`the rights of the chart's accounts (${reason})`, () => {});
else
  describe("the rights of the chart's accounts on a real API server", () => {
    let plane: ControlPlane;
    let folder: string;
    let admin: KubeClient;
    let argus: Release;
    const stop = new AbortController();
    const clients: KubeClient[] = [];
    let gateway: Listening;
    let running: Running[] = [];

    beforeAll(async () => {
      plane = await startControlPlane({ controllerManager: false });
      folder = await mkdtemp(join(tmpdir(), "argus-rights-"));
      argus = new Release({
        version: "helm4",
        kubeconfig: plane.kubeconfig(),
        namespace: NAMESPACE,
      });
      await argus.makeNamespace();
      await argus.helm("install", [CHART]);
      // The garbage collector looks for new kinds every 30 s only, so it starts when ours are there.
      await plane.controllerManager.start();
      admin = await client(plane.token, "admin");
      const accounts = [`${RELEASE}-controller`, `${RELEASE}-gateway`];
      const [controllerKube, gatewayKube] = await Promise.all(
        accounts.map(async (name) => client(await accountToken(name), name)),
      );
      gateway = await startGateway(
        {
          host: "127.0.0.1",
          port: 0,
          namespace: NAMESPACE,
          stateFolder: join(folder, "state"),
          adminToken: ADMIN,
          kube: gatewayKube as KubeClient,
          model: { upstream: "http://127.0.0.1:1" },
          sessionTemplate: {},
          logger: silentLogger(),
        },
        stop.signal,
      );
      const controller = await startController(
        {
          kube: controllerKube as KubeClient,
          namespace: NAMESPACE,
          defaultImage: "argus-runtime:test",
          gatewayUrl: `http://127.0.0.1:${gateway.port}`,
          identity: "test",
          host: "127.0.0.1",
          port: 0,
          uidRange: { first: 200_000, last: 200_099 },
          logger: silentLogger(),
        },
        stop.signal,
      );
      running = [gateway, controller];
    });
    async function end(): Promise<void> {
      stop.abort();
      await Promise.all(running.map(({ closed }) => closed));
    }
    afterAll(async () => {
      await end();
      for (const each of clients) await each.close();
      await plane?.close();
      if (folder) await rm(folder, { recursive: true });
    });

    async function client(token: string, user: string): Promise<KubeClient> {
      const { server, caPem } = plane;
      const kubeconfig = join(folder, `${user}.kubeconfig`);
      const text = kubeconfigYaml({ server, caPem, token, user, namespace: NAMESPACE });
      await writeFile(kubeconfig, text, { mode: 0o600 });
      const made = await createKubeClient({ kubeconfig, logger: silentLogger() });
      clients.push(made);
      return made;
    }

    async function accountToken(name: string): Promise<string> {
      return (await argus.ok(["create", "token", name])).trim();
    }

    const http = (method: string, path: string, token = ADMIN) =>
      fetch(`http://127.0.0.1:${gateway.port}${path}`, {
        method,
        headers: { authorization: `Bearer ${token}` },
      });

    /** As the gateway makes one: on a client's first word. */
    async function openMain(): Promise<void> {
      const url = `http://127.0.0.1:${gateway.port}`;
      const ws = await WsClient.connect({ url, token: ADMIN });
      await eventually("session main", () => session("main"));
      await ws.close();
    }

    /** As an agent does with its `cron` tool. */
    async function useJobs(): Promise<void> {
      const jobs = `http://127.0.0.1:${gateway.port}/automation/cron/jobs`;
      const headers = { authorization: `Bearer ${ADMIN}`, "content-type": "application/json" };
      const job = { jobId: "mine", expr: "0 0 1 1 *", text: "happy new year" };
      const made = await fetch(jobs, { method: "POST", headers, body: JSON.stringify(job) });
      expect(await made.json()).toMatchObject({ ok: true, job });
      expect((await http("DELETE", "/automation/cron/jobs/mine")).status).toBe(200);
    }

    const session = (name: string) =>
      admin.get<ArgusSession>({ resource: argusSessions, namespace: NAMESPACE, name });
    const change = (name: string, spec: object) =>
      admin.apply(
        argusSessions,
        {
          apiVersion: API_VERSION,
          kind: "ArgusSession",
          metadata: { name, namespace: NAMESPACE },
          spec,
        } as KubeObject,
        { fieldManager: "person", force: true },
      );

    const podOf = (name: string): Promise<Pod> =>
      eventually(`a pod of ${name}`, async () => {
        const selection = { namespace: NAMESPACE, labelSelector: `argus.dev/session=${name}` };
        const { items } = await admin.list<Pod>(pods, selection);
        return items.find(({ metadata }) => !metadata.deletionTimestamp);
      });

    /** Plays the kubelet, for which there is no node here. */
    async function ready(name: string): Promise<Pod> {
      const pod = await podOf(name);
      const path = `/api/v1/namespaces/${NAMESPACE}/pods/${pod.metadata.name}/status`;
      const answer = await admin.request("PATCH", path, {
        body: { status: readyStatus() },
        contentType: "application/merge-patch+json",
      });
      await answer.body.dump();
      await reasonOf(name, "True");
      return pod;
    }

    /** Plays the scheduler. */
    async function unschedulable(pod: Pod): Promise<void> {
      const path = `/api/v1/namespaces/${NAMESPACE}/pods/${pod.metadata.name}/status`;
      const message = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.";
      const condition = { type: "PodScheduled", status: "False", reason: "Unschedulable", message };
      const answer = await admin.request("PATCH", path, {
        body: { status: { phase: "Pending", conditions: [condition] } },
        contentType: "application/merge-patch+json",
      });
      await answer.body.dump();
    }

    const owned = (name: string) =>
      eventually("the claim has an owner", async () => {
        const selection = { namespace: NAMESPACE, labelSelector: `argus.dev/session=${name}` };
        const { items } = await admin.list(persistentVolumeClaims, selection);
        return items[0]?.metadata.ownerReferences?.length === 1;
      });

    /** Port of its policy and address of its Service; empty = neither is there. */
    const extras = (name: string, wanted: string[]) =>
      eventually(`${name} has ${wanted.join(" and ") || "nothing"}`, async () => {
        const found = await argus.ok([
          "get",
          "networkpolicies,services",
          "-l",
          `argus.dev/session-uid=${(await session(name))?.metadata.uid}`,
          "-o",
          "jsonpath={range .items[*]}{.spec.ingress[0].ports[0].port}{.spec.clusterIP} {end}",
        ]);
        return found.trim() === wanted.join(" ");
      });

    const reasonOf = (name: string, wanted: string) =>
      eventually(`${name} is ${wanted}`, async () => {
        const found = (await session(name))?.status?.conditions?.find(
          ({ type }) => type === "Ready",
        );
        return found && `${found.status} ${found.reason}`.startsWith(wanted);
      });

    test("two sessions live through everything that a session can go through", {
      timeout: 240_000,
    }, async () => {
      // Its next slot comes within a minute; the session is not there, and the cache is not believed.
      await argus.ok(["apply", "-f", "-"], JSON.stringify(CRON));
      await openMain();
      const pod = await ready("main");
      await change("two", {});
      await ready("two");

      // The pod proves itself to the gateway.
      const token = await argus.ok([
        "create",
        "token",
        POD.serviceAccount,
        `--audience=${GATEWAY_AUDIENCE}`,
        "--bound-object-kind=Pod",
        `--bound-object-name=${pod.metadata.name}`,
      ]);
      const asked = await http("POST", "/openai/v1/responses", token.trim());
      // Let in: nobody answers behind the gateway.
      expect(asked.status).toBe(502);
      expect((await http("POST", "/keys/rotate")).status).toBe(200);
      await useJobs();

      // A Service and rules of its own come, change and go.
      const rule = (port: number) => [{ ports: [{ port, protocol: "TCP" }] }];
      await change("two", { service: true, networkPolicy: { ingress: rule(22) } });
      await extras("two", ["22", "None"]);
      await change("two", {
        service: true,
        networkPolicy: { ingress: rule(23), egressMode: "Open" },
      });
      await extras("two", ["23", "None"]);
      await eventually("the pod has another label", async () => {
        return (await podOf("two")).metadata.labels?.["argus.dev/egress"] === "Open";
      });
      await change("two", {});
      await extras("two", []);

      // A claim gets its owner, then goes with the suspended session.
      await change("two", { persistentVolumeClaimRetentionPolicy: { whenDeleted: "Delete" } });
      await owned("two");
      const old = await podOf("two");
      const suspended = {
        operatingMode: "Suspended",
        persistentVolumeClaimRetentionPolicy: { whenSuspended: "Delete", confirmDataLoss: true },
      };
      await change("two", suspended);
      await reasonOf("two", "False SessionSuspended");

      // Somebody else takes the name of its pod.
      await argus.ok(["run", old.metadata.name, "--image=x:1", "--overrides", FOREIGN]);
      await change("two", { operatingMode: "Running" });
      await reasonOf("two", "False PodNotOwned");

      // A volume that nobody provides is explained by the binder's own words.
      const storageClassName = "missing";
      const storage = {
        accessModes: ["ReadWriteOnce"],
        resources: { requests: { storage: "1Gi" } },
      };
      const template = { metadata: { name: "workspace" }, spec: { ...storage, storageClassName } };
      await change("poor", { volumeClaimTemplates: [template] });
      await unschedulable(await podOf("poor"));
      await eventually("the binder's words", async () => {
        const conditions = (await session("poor"))?.status?.conditions ?? [];
        const { message = "" } = conditions.find(({ type }) => type === "Ready") ?? {};
        return message.includes('storageclass.storage.k8s.io "missing" not found');
      });

      // A session whose time is over is deleted by the controller.
      await change("gone", { shutdownTime: "2020-01-01T00:00:00Z", shutdownPolicy: "Delete" });
      await eventually("it is deleted", async () => (await session("gone")) === undefined);

      await within(
        "a slot is skipped",
        async () => {
          const cron = await argus.get<{ status?: ArgusCronStatus }>("arguscron/nightly");
          return cron.status?.lastSkip?.reason === "SessionNotFound";
        },
        SLOT_MS,
      );

      // A message is waiting when its session is deleted.
      const url = `http://127.0.0.1:${gateway.port}`;
      const writer = await WsClient.connect({ url, token: ADMIN, query: { session: "two" } });
      await writer.request("argus/input/enqueue", { text: "hello" });
      expect((await http("DELETE", "/sessions/two")).status).toBe(200);
      await eventually("it is let go", async () => (await session("two")) === undefined);
      await writer.close();

      // Its user id is free when its volume is gone, too.
      await change("main", { persistentVolumeClaimRetentionPolicy: { whenDeleted: "Delete" } });
      await owned("main");
      expect((await http("DELETE", "/sessions/main")).status).toBe(200);
      await eventually("the user id is free", async () => {
        const uids = await argus.ok(["get", "configmap", "argus-uids", "-o", "json"]);
        return !uids.includes("main/");
      });
      // A watch is on record when it ends.
      await end();
    });

    test.for(["controller", "gateway"])(
      "%s: its rules are what it asked for, no more, no less",
      async (who) => {
        const name = `${RELEASE}-${who}`;
        const manifest = await argus.manifest();
        // The log is written a moment after the answer.
        const compare = async () => {
          const { entries } = await readAudit(plane.auditLog);
          const asked = askedBy(entries, { namespace: NAMESPACE, name });
          return compareRights(grantedTo(manifest, name), asked);
        };
        await eventually("a full log", async () => (await compare()).surplus.length === 0).catch(
          () => undefined,
        );
        expect(await compare()).toEqual({ missing: [], surplus: [], refused: [] });
      },
    );

    test("a session pod's account may do nothing", async () => {
      const may = await argus.run([
        "auth",
        "can-i",
        "--list",
        `--as=system:serviceaccount:${NAMESPACE}:${POD.serviceAccount}`,
        "--no-headers",
      ]);
      const resources = may.stdout.split("\n").filter((line) => /^\S+\.?\S* +\[\]/.test(line));
      expect(resources.filter((line) => !/^self\w+reviews/.test(line))).toEqual([]);
    });
  });

const CRON = {
  apiVersion: API_VERSION,
  kind: "ArgusCron",
  metadata: { name: "nightly" },
  spec: { schedule: "* * * * *", sessionRef: { name: "nobody" }, event: { text: "wake up" } },
};

/** Admitted as restricted, and nobody's. */
const FOREIGN = JSON.stringify({
  spec: {
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 1000,
      seccompProfile: { type: "RuntimeDefault" },
    },
    containers: [
      {
        name: "foreign",
        image: "x:1",
        securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
      },
    ],
  },
});
