import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
} from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { createKubeClient } from "#cluster/client.ts";
import {
  configMaps,
  events,
  nodes,
  persistentVolumeClaims,
  pods,
  secrets,
  serviceAccounts,
} from "#cluster/resources.ts";
import type { KubeClient, KubeObject, Resource } from "#cluster/types.ts";
import { silentLogger } from "#lib/logger.ts";
import { processTable } from "#lib/process-table.ts";
import type { Pod, PodSpec } from "#localcluster/kubelet/pod.ts";
import { type LocalCluster, startLocalCluster } from "#localcluster/local-cluster.ts";
import { eventually } from "#test/support/eventually.ts";

interface Bench {
  folder: string;
  cluster: LocalCluster;
  kube: KubeClient;
  stop(): Promise<void>;
}

const benches: Bench[] = [];
afterEach(async () => {
  for (const bench of benches.splice(0)) await bench.stop();
});

/** A folder that other users can pass through. */
function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "argus-kubelet-"));
  chmodSync(folder, 0o755);
  mkdirSync(join(folder, "bin"));
  return folder;
}

async function start(folder = newFolder()): Promise<Bench> {
  const stopping = new AbortController();
  const cluster = await startLocalCluster(
    {
      folder,
      port: 0,
      binFolder: join(folder, "bin"),
      environment: { PATH: "/usr/bin:/bin" },
      logger: silentLogger(),
    },
    stopping.signal,
  );
  const kubeconfig = join(folder, "admin.kubeconfig");
  await writeFile(kubeconfig, cluster.kubeconfig("admin"), { mode: 0o600 });
  const kube = await createKubeClient({ kubeconfig, logger: silentLogger() });
  const stop = async () => {
    stopping.abort();
    await cluster.closed;
    await kube.close();
  };
  const bench = { folder, cluster, kube, stop };
  benches.push(bench);
  return bench;
}

async function stop(bench: Bench): Promise<void> {
  benches.splice(benches.indexOf(bench), 1);
  await bench.stop();
}

const namespace = "default";
const refTo = (resource: Resource, name: string) => ({ resource, namespace, name });
const getPod = (kube: KubeClient, name: string) => kube.get<Pod>(refTo(pods, name));

function makePod(kube: KubeClient, name: string, spec: Partial<PodSpec>): Promise<Pod> {
  const containers = (spec.containers ?? []).map((each) => ({ image: "none", ...each }));
  return kube.create<Pod>(pods, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace },
    spec: { terminationGracePeriodSeconds: 2, ...spec, containers },
  });
}

const sh = (text: string, ...args: string[]) => ({
  name: "agent",
  command: ["/bin/sh", "-c", text.replaceAll("$$", "$$$$$$$$"), "sh", ...args],
});

const claim = (name: string): KubeObject & { spec: object } => ({
  apiVersion: "v1",
  kind: "PersistentVolumeClaim",
  metadata: { name, namespace },
  spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } },
});

const phaseIs = (kube: KubeClient, name: string, phase: string) =>
  eventually(`pod ${name} is ${phase}`, async () => {
    const pod = await getPod(kube, name);
    return pod?.status?.phase === phase && pod;
  });

const ready = (kube: KubeClient, name: string) =>
  eventually(`pod ${name} is ready`, async () => {
    const pod = await getPod(kube, name);
    return pod?.status?.conditions?.some((c) => c.type === "Ready" && c.status === "True") && pod;
  });

async function logOf(kube: KubeClient, name: string): Promise<string> {
  const path = `/api/v1/namespaces/${namespace}/pods/${name}/log`;
  const { body } = await kube.request("GET", path, { query: { container: "agent" } });
  return Buffer.concat(await Array.fromAsync(body)).toString();
}

const living = async (pids: number[]) =>
  (await processTable()).filter(({ pid }) => pids.includes(pid)).map(({ pid }) => pid);

test("a pod gets a node, an address, variables, files, a token and a home that stays", async () => {
  const { kube, folder } = await start();
  await kube.create(serviceAccounts, {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: "worker", namespace },
  });
  const data = { greeting: Buffer.from("hello").toString("base64") };
  const secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "s", namespace }, data };
  await kube.create(secrets, secret);
  await kube.create(persistentVolumeClaims, claim("home"));
  const text = `
    echo "$GREETING $POD_IP $HOME" > "$HOME/seen"
    cat "$1/token" > "$HOME/token"
    cat "$1/greeting" >> "$HOME/seen"
    echo started; exec sleep 300`;
  await makePod(kube, "p", {
    serviceAccountName: "worker",
    containers: [
      {
        ...sh(text, "/etc/argus"),
        env: [
          { name: "GREETING", valueFrom: { secretKeyRef: { name: "s", key: "greeting" } } },
          { name: "POD_IP", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
          { name: "HOME", value: "/home/argus" },
        ],
        volumeMounts: [
          { name: "home", mountPath: "/home/argus" },
          { name: "files", mountPath: "/etc/argus" },
        ],
      },
    ],
    volumes: [
      { name: "home", persistentVolumeClaim: { claimName: "home" } },
      {
        name: "files",
        projected: {
          sources: [
            { secret: { name: "s" } },
            { serviceAccountToken: { path: "token", audience: "argus-gateway" } },
          ],
        },
      },
    ],
  });
  const pod = await ready(kube, "p");
  await eventually("it wrote", async () => (await logOf(kube, "p")) === "started\n");
  const home = await kube.get(refTo(persistentVolumeClaims, "home"));
  const volume = join(folder, "volumes", namespace, home?.metadata.uid ?? "");
  const { podIP } = pod.status ?? {};
  expect(podIP).toMatch(/^127\.77\./);
  expect(readFileSync(join(volume, "seen"), "utf8")).toBe(`hello ${podIP} ${volume}\nhello`);
  const review = await kube.create<KubeObject & { status?: object }>(
    { group: "authentication.k8s.io", version: "v1", plural: "tokenreviews", kind: "TokenReview" },
    {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenReview",
      metadata: { name: "" },
      spec: { token: readFileSync(join(volume, "token"), "utf8"), audiences: ["argus-gateway"] },
    } as KubeObject,
  );
  expect(review.status).toMatchObject({ authenticated: true });
  expect(JSON.stringify(review.status)).toContain(pod.metadata.uid);
  expect(pod.spec.nodeName).toBe("local");
  expect(await kube.get({ resource: nodes, namespace: "", name: "local" })).toMatchObject({
    status: { conditions: [{ type: "Ready", status: "True" }] },
  });

  // Files follow their source.
  const words = Buffer.from("changed").toString("base64");
  await kube.jsonPatch(refTo(secrets, "s"), [
    { op: "replace", path: "/data/greeting", value: words },
  ]);
  const file = join(folder, "pods", pod.metadata.uid ?? "", "volumes", "files", "greeting");
  await eventually("the file changed", () => readFileSync(file, "utf8") === "changed");

  // The claim outlives the pod and goes with its object, and only when no pod uses it.
  await kube.delete(refTo(persistentVolumeClaims, "home"));
  await kube.create(persistentVolumeClaims, claim("other"));
  // Claims are settled in one pass, so the first has been looked at when the second is.
  await eventually("the other claim is protected", async () => {
    const other = await kube.get(refTo(persistentVolumeClaims, "other"));
    return other?.metadata.finalizers?.length;
  });
  expect(existsSync(join(volume, "seen"))).toBe(true);
  await kube.delete(refTo(pods, "p"));
  await eventually("the pod is gone", async () => !(await getPod(kube, "p")));
  await eventually("the volume is gone", () => !existsSync(volume));
  await eventually("the claim is gone", async () => {
    return !(await kube.get(refTo(persistentVolumeClaims, "home")));
  });
  expect(readdirSync(join(folder, "pods"))).toEqual([]);
});

test("a missing secret holds the container back, says so, and ends the wait when it comes", async () => {
  const { kube } = await start();
  const env = [{ name: "K", valueFrom: { secretKeyRef: { name: "late", key: "k" } } }];
  await makePod(kube, "p", { containers: [{ ...sh("echo $K; exec sleep 300"), env }] });
  await eventually("it waits", async () => {
    const { waiting } = (await getPod(kube, "p"))?.status?.containerStatuses?.[0]?.state ?? {};
    return waiting?.reason === "CreateContainerConfigError" && waiting.message?.includes('"late"');
  });
  await kube.create(secrets, {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "late", namespace },
    data: { k: Buffer.from("here").toString("base64") },
  } as KubeObject);
  await ready(kube, "p");
  await eventually("it has the value", async () => (await logOf(kube, "p")) === "here\n");
  const list = await kube.list<KubeObject & { reason?: string }>(events, { namespace });
  const reasons = list.items.map(({ reason }) => reason);
  expect(reasons).toEqual(expect.arrayContaining(["Scheduled", "Failed", "Started"]));
});

test("a pod whose claim is missing is unschedulable until it comes", async () => {
  const { kube } = await start();
  const volumes = [{ name: "v", persistentVolumeClaim: { claimName: "later" } }];
  await makePod(kube, "p", { containers: [sh("exec sleep 300")], volumes });
  await eventually("it says why", async () => {
    const [condition] = (await getPod(kube, "p"))?.status?.conditions ?? [];
    return condition?.reason === "Unschedulable" && condition.message?.includes('"later"');
  });
  await kube.create(persistentVolumeClaims, claim("later"));
  await ready(kube, "p");
});

test("init containers come first, and what must run once ends as Succeeded or Failed", async () => {
  const { kube } = await start();
  const mount = { volumeMounts: [{ name: "v", mountPath: "/shared" }] };
  const container = (name: string, text: string) => ({
    ...sh(text, "/shared/order"),
    image: "none",
    name,
    ...mount,
  });
  await makePod(kube, "good", {
    restartPolicy: "Never",
    initContainers: [container("one", 'echo 1 >> "$1"'), container("two", 'echo 2 >> "$1"')],
    containers: [{ ...container("agent", 'cat "$1"') }],
    volumes: [{ name: "v", emptyDir: {} }],
  });
  await makePod(kube, "bad", { restartPolicy: "Never", containers: [sh("exit 4")] });
  await phaseIs(kube, "good", "Succeeded");
  expect(await logOf(kube, "good")).toBe("1\n2\n");
  const bad = await phaseIs(kube, "bad", "Failed");
  expect(bad.status?.containerStatuses?.[0]?.state.terminated?.exitCode).toBe(4);
});

test("pods go on after an orderly stop, which is no crash; each keeps its address", async () => {
  const first = await start();
  await makePod(first.kube, "p", { containers: [sh("echo $$; exec sleep 300")] });
  const before = await ready(first.kube, "p");
  const pid = await eventually("its pid", async () => Number(await logOf(first.kube, "p")));
  await stop(first);
  expect(await living([pid])).toEqual([]);
  const second = await start(first.folder);
  const after = await ready(second.kube, "p");
  expect(after.status?.podIP).toBe(before.status?.podIP);
  expect(after.status?.containerStatuses?.[0]).toMatchObject({ restartCount: 0, lastState: {} });
});

test("after kill -9 of everything nothing is left twice, and what must run once does not run again", async () => {
  const folder = newFolder();
  const program = join(import.meta.dirname, "..", "support", "local-cluster-process.ts");
  const child = spawn(process.execPath, [program, folder], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const kubeconfig = join(folder, "crashing.kubeconfig");
  await writeFile(kubeconfig, JSON.parse(line.toString()) as string);
  const kube = await createKubeClient({ kubeconfig, logger: silentLogger() });
  const text = "echo $$; setsid sleep 300 & echo $!; exec sleep 300";
  await makePod(kube, "always", { containers: [sh(text)] });
  await makePod(kube, "never", { restartPolicy: "Never", containers: [sh(text)] });
  const pids: number[] = [];
  for (const name of ["always", "never"]) {
    await ready(kube, name);
    const lines = await eventually("two pids", async () => {
      const found = (await logOf(kube, name)).trim().split("\n");
      return found.length === 2 && found;
    });
    pids.push(...lines.map(Number));
  }
  await kube.close();
  child.kill("SIGKILL");
  await once(child, "exit");
  expect(await living(pids)).toHaveLength(4);

  const again = await start(folder);
  expect(await living(pids)).toEqual([]);
  const never = await phaseIs(again.kube, "never", "Failed");
  expect(never.status?.containerStatuses?.[0]?.state.terminated).toMatchObject({
    exitCode: 137,
    reason: "ContainerStatusUnknown",
  });
  const always = await ready(again.kube, "always");
  expect(always.status?.containerStatuses?.[0]).toMatchObject({
    restartCount: 1,
    lastState: { terminated: { exitCode: 137 } },
  });
});

test("a deleted pod ends by SIGTERM, is gone only after its processes, and a forced one at once", async () => {
  const { kube, folder } = await start();
  const stubborn = sh('trap "" TERM; echo $$; while :; do sleep 0.05; done');
  await makePod(kube, "soft", {
    containers: [sh('trap "echo bye; exit 0" TERM; echo $$; while :; do sleep 0.05; done')],
  });
  await makePod(kube, "hard", { terminationGracePeriodSeconds: 600, containers: [stubborn] });
  await ready(kube, "soft");
  await ready(kube, "hard");
  const pidOf = (name: string) =>
    eventually("its pid", async () => Number((await logOf(kube, name)).split("\n")[0]));
  const [soft, hard] = [await pidOf("soft"), await pidOf("hard")];
  await kube.delete(refTo(pods, "soft"));
  await eventually("soft is gone", async () => !(await getPod(kube, "soft")));
  expect(await living([soft])).toEqual([]);
  await kube.delete(refTo(pods, "hard"));
  expect((await getPod(kube, "hard"))?.metadata.deletionTimestamp).toBeDefined();
  const path = `/api/v1/namespaces/${namespace}/pods/hard`;
  await (await kube.request("DELETE", path, { body: { gracePeriodSeconds: 0 } })).body.dump();
  await eventually("hard has ended", async () => (await living([hard])).length === 0);
  await eventually("no folder is left", () => readdirSync(join(folder, "pods")).length === 0);
});

test.runIf(process.getuid?.() === 0)(
  "as root a pod runs as its own user, and its files are its own",
  async () => {
    const { kube, folder, cluster } = await start();
    await kube.create(persistentVolumeClaims, claim("home"));
    await kube.create(configMaps, {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "c", namespace },
      data: { word: "x" },
    } as KubeObject);
    await makePod(kube, "p", {
      securityContext: { runAsUser: 200_001, fsGroup: 200_001 },
      containers: [
        {
          ...sh('id -u; id -G; cat "$1/word"; echo; touch "$HOME/mine" && exec sleep 300', "/c"),
          env: [{ name: "HOME", value: "/home/argus" }],
          volumeMounts: [
            { name: "home", mountPath: "/home/argus" },
            { name: "c", mountPath: "/c" },
          ],
        },
      ],
      volumes: [
        { name: "home", persistentVolumeClaim: { claimName: "home" } },
        { name: "c", configMap: { name: "c" } },
      ],
    });
    await ready(kube, "p");
    const log = await eventually("it wrote", async () => {
      const text = await logOf(kube, "p");
      return text.includes("x") && text;
    });
    expect(log.split("\n").slice(0, 2)).toEqual(["200001", "200001"]);
    const home = await kube.get(refTo(persistentVolumeClaims, "home"));
    const volume = join(folder, "volumes", namespace, home?.metadata.uid ?? "");
    const mine = await eventually("its file", () => statSync(join(volume, "mine")));
    expect(mine.uid).toBe(200_001);
    expect(statSync(volume).mode & 0o777).toBe(0o700);
    expect(cluster.warnings.join()).not.toContain("one user");

    // Another user gets the volume with all that is in it.
    await makePod(kube, "q", {
      restartPolicy: "Never",
      securityContext: { runAsUser: 200_002 },
      containers: [
        {
          ...sh('echo more >> "$1/mine"', "/home/argus"),
          volumeMounts: [{ name: "home", mountPath: "/home/argus" }],
        },
      ],
      volumes: [{ name: "home", persistentVolumeClaim: { claimName: "home" } }],
    });
    await phaseIs(kube, "q", "Succeeded");
    expect(readFileSync(join(volume, "mine"), "utf8")).toBe("more\n");
  },
);
