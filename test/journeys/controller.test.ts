import { get } from "node:http";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { ConfigMap, PersistentVolumeClaim } from "#cluster/core-types.ts";
import {
  argusSessions,
  configMaps,
  events,
  networkPolicies,
  persistentVolumeClaims,
  pods,
  serviceAccounts,
  services,
} from "#cluster/resources.ts";
import type { KubeObject, Resource } from "#cluster/types.ts";
import type { NetworkPolicy } from "#controller/network/policies.ts";
import { LABEL, POD, RuntimeSpec } from "#protocol/pod.ts";
import {
  ControllerRig,
  NAMESPACE,
  type RunningController,
  readyStatus,
  recordingKube,
} from "../support/controller-rig.ts";
import { eventually } from "../support/eventually.ts";

let rig: ControllerRig;
const running: RunningController[] = [];
beforeAll(async () => {
  rig = await ControllerRig.start();
});
afterAll(() => rig.stop());
afterEach(async () => {
  for (const controller of running.splice(0)) await controller.stop();
  for (const { metadata } of (await rig.kube.list(argusSessions)).items) {
    await rig.kube.delete({ resource: argusSessions, namespace: NAMESPACE, name: metadata.name });
  }
  for (const resource of [persistentVolumeClaims, events, configMaps, serviceAccounts]) {
    const { items } = await rig.kube.list(resource, { namespace: NAMESPACE });
    for (const { metadata } of items.filter(({ metadata }) => metadata.name !== "default")) {
      await rig.kube
        .delete({ resource, namespace: NAMESPACE, name: metadata.name })
        .catch(() => undefined);
    }
  }
  for (const pod of await rig.pods()) await rig.finish(pod);
  await eventually("an empty namespace", async () => (await rig.pods()).length === 0);
});

async function controlled(around?: Parameters<typeof recordingKube>[2]) {
  const writes: string[] = [];
  const controller = await rig.controller({ kube: recordingKube(rig.kube, writes, around) });
  running.push(controller);
  return { writes, controller };
}

async function claims(): Promise<PersistentVolumeClaim[]> {
  const list = await rig.kube.list<PersistentVolumeClaim>(persistentVolumeClaims, {
    namespace: NAMESPACE,
  });
  return list.items;
}

async function uids(): Promise<Record<string, string>> {
  const ref = { resource: configMaps, namespace: NAMESPACE, name: "argus-uids" };
  return (await rig.kube.get<ConfigMap>(ref))?.data ?? {};
}

test("a session becomes a claim, a pod and a Ready status, in at most five writes; then nothing is written", async () => {
  const { writes, controller } = await controlled();
  await rig.apply("main");
  await rig.kube.jsonPatch({ resource: argusSessions, namespace: NAMESPACE, name: "main" }, [
    { op: "add", path: "/metadata/labels", value: { touched: "0" } },
  ]);
  const pod = await rig.pod();
  expect((await claims()).map(({ metadata }) => metadata.labels?.[LABEL.session])).toEqual([
    "main",
  ]);
  expect(Object.keys(await uids())).toEqual(["200000"]);
  expect(pod.spec.securityContext?.runAsUser).toBe(200_000);
  const agent = pod.spec.containers[0];
  expect(agent).toMatchObject({ name: POD.container, command: ["argus", "bridge"] });
  const runtime = agent?.env?.find(({ name }) => name === "ARGUS_RUNTIME")?.value ?? "";
  expect(RuntimeSpec.parse(JSON.parse(runtime)).command).toEqual(["codex", "app-server"]);

  await rig.condition("main", "Ready", "False DependenciesNotReady");
  await rig.report(pod, readyStatus());
  const session = await rig.condition("main", "Ready", "True DependenciesReady");
  expect(session.status).toMatchObject({
    observedGeneration: 1,
    podName: pod.metadata.name,
    podIPs: ["127.0.0.1"],
    runAsUser: 200_000,
  });
  const perSession = writes.filter((write) => write !== "create serviceaccounts");
  expect(perSession).toEqual([
    "create configmaps",
    "create persistentvolumeclaims",
    "create pods",
    "applyStatus argussessions",
    "applyStatus argussessions",
  ]);

  // A second look, forced by a change that is none, writes nothing.
  writes.length = 0;
  const before = await reconciles(controller.port);
  const untilMs = performance.now() + 2500;
  // Longer than a status may be held back.
  await eventually("looks without end", async () => {
    await touch(argusSessions, "main");
    await touch(pods, pod.metadata.name);
    return performance.now() > untilMs;
  });
  expect(await reconciles(controller.port)).toBeGreaterThan(before + 5);
  expect(writes).toEqual([]);
});

test("a changed spec replaces the pod, and the successor waits for the old pod's end", async () => {
  const { writes } = await controlled();
  await rig.apply("main");
  const old = await rig.pod();
  await rig.report(old, { ...readyStatus(), phase: "Running" });
  await rig.condition("main", "Ready", "True");
  await rig.apply("main", { runtime: { args: ["--new"] } });
  await eventually("the old pod is going", async () => {
    const [pod] = await rig.pods();
    return pod?.metadata.deletionTimestamp !== undefined || pod?.metadata.uid !== old.metadata.uid;
  });
  await rig.finish(old);
  const next = await eventually("the successor", async () => {
    const [pod] = await rig.pods();
    return pod && pod.metadata.uid !== old.metadata.uid && pod;
  });
  expect(next.metadata.name).toBe(old.metadata.name);
  expect(next.metadata.annotations?.[LABEL.specHash]).not.toBe(
    old.metadata.annotations?.[LABEL.specHash],
  );
  expect(writes.filter((write) => write === "delete pods")).toHaveLength(1);
  expect(await claims()).toHaveLength(1);
});

test("suspending removes the pod and keeps the volume; running again makes a new pod on it", async () => {
  await controlled();
  await rig.apply("main");
  const first = await rig.pod();
  const [claim] = await claims();
  await rig.apply("main", { operatingMode: "Suspended" });
  await eventually("the pod is going", async () => {
    const [pod] = await rig.pods();
    return !pod || pod.metadata.deletionTimestamp !== undefined;
  });
  await rig.finish(first);
  const suspended = await rig.condition("main", "Suspended", "True PodTerminated");
  expect(suspended.status?.podName).toBeUndefined();
  expect(suspended.status?.runAsUser).toBe(200_000);
  await rig.condition("main", "Ready", "False SessionSuspended");
  expect((await claims())[0]?.metadata.uid).toBe(claim?.metadata.uid);
  await rig.apply("main", { operatingMode: "Running" });
  const second = await rig.pod();
  expect(second.metadata.uid).not.toBe(first.metadata.uid);
  expect(second.spec.securityContext?.runAsUser).toBe(200_000);
});

test("a deleted session takes its pod along; a retained volume keeps its user id until it goes", async () => {
  await controlled();
  await rig.apply("main");
  const pod = await rig.pod();
  await rig.kube.delete({ resource: argusSessions, namespace: NAMESPACE, name: "main" });
  await eventually("the pod is going", async () => {
    const [left] = await rig.pods();
    return !left || left.metadata.deletionTimestamp !== undefined;
  });
  await rig.finish(pod);
  const [claim] = await claims();
  expect(claim?.metadata.ownerReferences).toBeUndefined();
  // A session of the same name inherits nothing.
  await rig.apply("main");
  const next = await rig.pod();
  expect(next.spec.securityContext?.runAsUser).toBe(200_001);
  expect(next.metadata.name).not.toBe(pod.metadata.name);
  const name = claim?.metadata.name ?? "";
  await rig.kube.delete({ resource: persistentVolumeClaims, namespace: NAMESPACE, name });
  await eventually("the id is free", async () => !("200000" in (await uids())), 15_000);
  expect(Object.keys(await uids())).toEqual(["200001"]);
});

test("whenDeleted: Delete lets the volume go with the session, also when it is set later", async () => {
  await controlled();
  await rig.apply("main");
  await rig.pod();
  const policy = { whenDeleted: "Delete" as const };
  await rig.apply("main", { persistentVolumeClaimRetentionPolicy: policy });
  await eventually("the claim is owned", async () => {
    const [claim] = await claims();
    return claim?.metadata.ownerReferences?.[0]?.kind === "ArgusSession";
  });
});

test("a foreign pod under our name is reported, not taken over and not deleted", async () => {
  await rig.apply("main");
  const session = await rig.session("main");
  const { childName } = await import("#cluster/objects.ts");
  const name = childName({ name: "main", uid: session?.metadata.uid ?? "" });
  await rig.kube.create(pods, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: NAMESPACE },
    spec: { containers: [{ name: "other", image: "other" }] },
  } as KubeObject);
  const { writes } = await controlled();
  const told = await rig.condition("main", "Ready", "False PodNotOwned");
  expect(told.status?.conditions?.find(({ type }) => type === "Ready")?.message).toContain(name);
  expect(writes).not.toContain("delete pods");
  expect((await rig.pods())[0]?.spec.containers[0]?.name).toBe("other");
});

test("a podTemplate that breaks the pod's isolation is refused with the field named, and not retried", async () => {
  const { controller } = await controlled();
  await rig.apply("main", { podTemplate: { spec: { hostNetwork: true } } });
  const session = await rig.condition("main", "Ready", "False SpecInvalid");
  expect(session.status?.conditions?.[0]?.message).toContain("hostNetwork");
  expect(await rig.pods()).toEqual([]);
  expect(await reconciles(controller.port)).toBeLessThan(6);
});

test.each([
  ["ImagePullBackOff", "ImagePullFailed", "argus:test"],
  ["CreateContainerConfigError", "CreateContainerConfigError", 'secret "x" not found'],
  ["CrashLoopBackOff", "CrashLoopBackOff", "keeps ending"],
])("a container that waits for %s makes Ready False with %s", async (waiting, reason, words) => {
  await controlled();
  await rig.apply("main");
  const state = { waiting: { reason: waiting, message: 'secret "x" not found' } };
  await rig.report(await rig.pod(), {
    phase: "Pending",
    containerStatuses: [{ name: "agent", state }],
  });
  const session = await rig.condition("main", "Ready", `False ${reason}`);
  expect(session.status?.conditions?.find(({ type }) => type === "Ready")?.message).toContain(
    words,
  );
});

test("an invalid object that only the API server can judge is reported with its words", async () => {
  await controlled();
  await rig.apply("main", {
    podTemplate: { spec: { containers: [{ name: "Not A Name", image: "x" }] } },
  });
  const session = await rig.condition("main", "Ready", "False SpecInvalid");
  expect(session.status?.conditions?.[0]?.message).toContain("Not A Name");
});

const KILL_POINTS = [
  "create configmaps",
  "create persistentvolumeclaims",
  "create serviceaccounts",
  "create pods",
  "applyStatus argussessions",
].flatMap((write) => [`before ${write}`, `after ${write}`]);

test.each(KILL_POINTS)("killed %s, the next controller ends in the same state", async (point) => {
  const [when, ...rest] = point.split(" ");
  const target = rest.join(" ");
  const died = Promise.withResolvers<void>();
  let dead = false;
  const { writes } = await controlled(async (write, call) => {
    // A killed process makes no further call and hears no answer.
    if (dead) return await new Promise(() => undefined);
    if (write !== target) return await call();
    dead = true;
    if (when === "after") await call();
    died.resolve();
    throw new Error("killed");
  });
  await rig.apply("main");
  if (target.startsWith("applyStatus")) await rig.report(await rig.pod(), readyStatus());
  await died.promise;
  expect(writes).toContain(target);
  for (const killed of running.splice(0)) killed.kill();
  const second = await controlled();
  const pod = await rig.pod();
  await rig.report(pod, readyStatus());
  await rig.condition("main", "Ready", "True");
  expect(await rig.pods()).toHaveLength(1);
  expect(await claims()).toHaveLength(1);
  expect(Object.keys(await uids())).toEqual(["200000"]);
  expect(second.writes.filter((write) => write === "create pods").length).toBeLessThanOrEqual(1);
});

test("two controllers at once make one pod, one claim and one user id", async () => {
  const both = [await controlled(), await controlled()];
  for (let i = 0; i < 5; i += 1) await rig.apply(`twin-${i}`);
  await eventually("five pods", async () => (await rig.pods()).length === 5);
  for (let i = 0; i < 5; i += 1) await rig.condition(`twin-${i}`, "Ready", "False");
  expect(await rig.pods()).toHaveLength(5);
  expect(await claims()).toHaveLength(5);
  const ids = (await rig.pods()).map(({ spec }) => spec.securityContext?.runAsUser);
  expect(new Set(ids).size).toBe(5);
  expect(both).toHaveLength(2);
});

test("health says when the caches are synced, and metrics count reconciles", async () => {
  const { controller } = await controlled();
  await eventually("ready", async () => (await fetched(controller.port, "/readyz")).status === 200);
  expect((await fetched(controller.port, "/livez")).status).toBe(200);
  await rig.apply("main");
  await rig.pod();
  await reconciled(controller.port, 1);
  const { body } = await fetched(controller.port, "/metrics");
  expect(body).toContain('controller_runtime_reconcile_total{controller="argussession"');
  expect(body).toContain('workqueue_depth{name="argussession"}');
});

/** A change that means nothing. */
async function touch(resource: Resource, name: string): Promise<void> {
  const value = String(performance.now());
  await rig.kube.jsonPatch({ resource, namespace: NAMESPACE, name }, [
    { op: "add", path: "/metadata/labels/touched", value },
  ]);
}

function fetched(port: number, path: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    get({ host: "127.0.0.1", port, path, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (text: string) => {
        body += text;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
    }).on("error", reject);
  });
}

async function metric(port: number, name: string): Promise<number> {
  const { body } = await fetched(port, "/metrics");
  const lines = body.split("\n").filter((line) => line.startsWith(`${name}{`));
  return lines.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

function reconciles(port: number): Promise<number> {
  return metric(port, "controller_runtime_reconcile_total");
}

/** Waits until that many reconciles have ended. */
async function reconciled(port: number, count: number): Promise<void> {
  await eventually("more reconciles", async () => (await reconciles(port)) >= count, 15_000);
}

const named = async (resource: Resource) =>
  (await rig.kube.list(resource, { namespace: NAMESPACE })).items.map(
    ({ metadata }) => metadata.name,
  );

test("the shared network policies are there, come back, and a session's own come and go with its rules", async () => {
  await controlled();
  const shared = ["argus-session", "argus-session-open", "argus-session-public"];
  await eventually("three policies", async () => (await named(networkPolicies)).length === 3);
  expect((await named(networkPolicies)).sort()).toEqual(shared);
  const ref = { resource: networkPolicies, namespace: NAMESPACE, name: "argus-session" };
  await rig.kube.delete(ref);
  await eventually("it is back", async () => (await named(networkPolicies)).includes(ref.name));
  await rig.kube.jsonPatch(ref, [{ op: "remove", path: "/spec/egress" }]);
  await eventually("it is right again", async () =>
    JSON.stringify(await rig.kube.get(ref)).includes("169.254.20.10"),
  );
  await rig.apply("main", {
    networkPolicy: { egress: [{ ports: [{ port: 443 }] }] },
    service: true,
  });
  const pod = await rig.pod();
  const { name } = pod.metadata;
  expect(await named(networkPolicies)).toContain(name);
  expect(await named(services)).toContain(name);
  const made = await rig.kube.get<NetworkPolicy>({ ...ref, name });
  expect(JSON.stringify(made?.spec)).toContain("169.254.169.254/32");
  await rig.apply("main", { networkPolicy: { egressMode: "Open" } });
  await eventually("both are gone", async () => {
    const left = [...(await named(networkPolicies)), ...(await named(services))];
    return !left.includes(name);
  });
  await eventually("the label follows", async () => {
    const [now] = await rig.pods();
    return now?.metadata.labels?.[LABEL.egress] === "Open";
  });
  expect((await rig.pod()).metadata.uid).toBe(pod.metadata.uid);
});
