import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { argusSessions } from "#cluster/resources.ts";
import type { ArgusSessionStatus } from "#crds/argus-session.ts";
import type { Clock } from "#lib/clock.ts";
import { systemClock } from "#lib/clock.ts";
import { LABEL } from "#protocol/pod.ts";
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
});

/** A clock that a test may set forward. */
function shiftedClock() {
  const shift = { ms: 0 };
  const clock: Clock = { ...systemClock, now: () => Date.now() + shift.ms };
  return { clock, shift };
}

type Around = Parameters<typeof recordingKube>[2];
async function controlled(around?: Around) {
  const writes: string[] = [];
  const { clock, shift } = shiftedClock();
  const kube = recordingKube(rig.kube, writes, around);
  const controller = await rig.controller({ kube, clock });
  running.push(controller);
  return { writes, shift, controller };
}

/** What the gateway says of the session, as its own field manager. */
async function demand(name: string, activity: ArgusSessionStatus["activity"]): Promise<void> {
  const object = {
    apiVersion: "argus.dev/v1alpha1",
    kind: "ArgusSession",
    metadata: { name, namespace: NAMESPACE },
    status: { activity },
  };
  await rig.kube.applyStatus(argusSessions, object, {
    fieldManager: "argus-gateway",
    force: true,
  });
}

const since = () => new Date().toISOString();
const idle = { idle: { suspendAfterSeconds: 600 } };

async function readySession(name: string) {
  await rig.apply(name, idle);
  const pod = await podOf(name);
  await rig.report(pod, readyStatus());
  await rig.condition(name, "Ready", "True");
  return pod;
}

function podOf(name: string) {
  return eventually("a pod", async () => {
    const all = await rig.pods();
    return all.find(
      ({ metadata }) => metadata.name.startsWith(`${name}-`) && !metadata.deletionTimestamp,
    );
  });
}

async function going(uid: string | undefined): Promise<void> {
  await eventually("the pod is going", async () => {
    const found = (await rig.pods()).find(({ metadata }) => metadata.uid === uid);
    return !found || found.metadata.deletionTimestamp !== undefined;
  });
}

test("an idle session is marked, loses its pod, keeps its volume and user id, and wakes on demand", async () => {
  const { shift, writes } = await controlled();
  const first = await readySession("sleepy");
  await demand("sleepy", { demand: "None", since: since() });
  shift.ms = 599_000;
  writes.length = 0;
  // Touched before its time: nothing happens.
  await demand("sleepy", { demand: "None", since: since() });
  shift.ms = 700_000;
  await demand("sleepy", { demand: "None", since: new Date(Date.now() - 1000).toISOString() });
  await rig.condition("sleepy", "Suspended", "False Suspending");
  await going(first.metadata.uid);
  await rig.finish(first);
  const cold = await rig.condition("sleepy", "Suspended", "True PodTerminated");
  expect(writes.filter((write) => write === "delete pods")).toHaveLength(1);
  expect(writes[0]).toBe("applyStatus argussessions");
  expect(cold.status).toMatchObject({ runAsUser: 200_000, activity: { demand: "None" } });
  expect(cold.spec.operatingMode).toBe("Running");
  const ready = cold.status?.conditions?.find(({ type }) => type === "Ready");
  expect(ready).toMatchObject({ status: "False", reason: "SessionSuspended" });
  expect(ready?.message).toContain("a message wakes it");
  await demand("sleepy", { demand: "Open", since: since() });
  const second = await podOf("sleepy");
  expect(second.metadata.uid).not.toBe(first.metadata.uid);
  expect(second.spec.securityContext?.runAsUser).toBe(200_000);
  await rig.report(second, readyStatus());
  await rig.condition("sleepy", "Ready", "True");
  // Open is never suspended, however long it stays so.
  shift.ms = 30 * 86_400_000;
  writes.length = 0;
  await demand("sleepy", { demand: "Open", since: new Date(0).toISOString() });
  await rig.apply("other");
  await podOf("other");
  expect(writes.filter((write) => write === "delete pods")).toEqual([]);
});

test("demand that comes while the mark is being written wins: the decision is made again", async () => {
  let armed = false;
  const { shift, writes } = await controlled(async (write, call) => {
    if (armed && write === "applyStatus argussessions") {
      armed = false;
      await demand("racy", { demand: "Open", since: since() });
    }
    return await call();
  });
  const pod = await readySession("racy");
  armed = true;
  shift.ms = 700_000;
  await demand("racy", { demand: "None", since: since() });
  await eventually("the race", () => !armed);
  await rig.apply("bystander");
  await podOf("bystander");
  const session = await rig.session("racy");
  expect(session?.status?.activity?.demand).toBe("Open");
  expect(session?.status?.conditions?.find(({ type }) => type === "Suspended")?.reason).toBe(
    "NotSuspended",
  );
  expect(writes).not.toContain("delete pods");
  expect((await podOf("racy")).metadata.uid).toBe(pod.metadata.uid);
});

test("woken while its old pod still ends, a session waits for that end", async () => {
  const { shift, writes } = await controlled();
  const pod = await readySession("hasty");
  shift.ms = 700_000;
  await demand("hasty", { demand: "None", since: since() });
  await going(pod.metadata.uid);
  writes.length = 0;
  await demand("hasty", { demand: "Open", since: since() });
  await rig.condition("hasty", "Suspended", "False NotSuspended");
  expect(writes).not.toContain("create pods");
  await rig.finish(pod);
  expect((await podOf("hasty")).metadata.uid).not.toBe(pod.metadata.uid);
});

test("a restart that is asked for by annotation makes one new pod", async () => {
  const { writes } = await controlled();
  const pod = await readySession("again");
  await rig.kube.jsonPatch({ resource: argusSessions, namespace: NAMESPACE, name: "again" }, [
    { op: "add", path: "/metadata/annotations", value: { [LABEL.restartAt]: since() } },
  ]);
  await going(pod.metadata.uid);
  await rig.finish(pod);
  await podOf("again");
  await rig.condition("again", "Ready", "False");
  expect(writes.filter((write) => write === "delete pods")).toHaveLength(1);
});

test("an upgrade leaves the pod alone and says that an update waits; a restart brings it", async () => {
  await controlled();
  const pod = await readySession("steady");
  await rig.condition("steady", "UpdateAvailable", "False UpToDate");
  for (const old of running.splice(0)) await old.stop();
  const upgraded = await rig.controller({ defaultImage: "argus:next" });
  running.push(upgraded);
  const told = await rig.condition("steady", "UpdateAvailable", "True InstallationChanged");
  const words = told.status?.conditions?.find(({ type }) => type === "UpdateAvailable")?.message;
  expect(words).toContain("argus:next");
  expect(words).toContain("argus sessions restart steady");
  expect((await podOf("steady")).metadata.uid).toBe(pod.metadata.uid);
  await rig.kube.jsonPatch({ resource: argusSessions, namespace: NAMESPACE, name: "steady" }, [
    { op: "add", path: "/metadata/annotations", value: { [LABEL.restartAt]: since() } },
  ]);
  await going(pod.metadata.uid);
  await rig.finish(pod);
  const next = await podOf("steady");
  expect(next.spec.containers[0]?.image).toBe("argus:next");
  await rig.condition("steady", "UpdateAvailable", "False UpToDate");
});

test("at its shutdownTime a session ends as its policy says", async () => {
  const { shift } = await controlled();
  const time = new Date(Date.now() + 3_600_000).toISOString();
  await rig.apply("kept", { shutdownTime: time, ttlSecondsAfterFinished: 60 });
  await rig.apply("gone", { shutdownTime: time, shutdownPolicy: "Delete" });
  const pods = [await podOf("kept"), await podOf("gone")];
  shift.ms = 3_601_000;
  // Moved by hand, the clock wakes nobody.
  await demand("kept", { demand: "Open", since: since() });
  await demand("gone", { demand: "Open", since: since() });
  await eventually("gone is gone", async () => (await rig.session("gone")) === undefined);
  await rig.condition("kept", "Finished", "True SessionExpired");
  for (const pod of pods) {
    await going(pod.metadata.uid);
    await rig.finish(pod).catch(() => undefined);
  }
  await rig.condition("kept", "Suspended", "True PodTerminated");
  shift.ms += 61_000;
  await demand("kept", { demand: "None", since: since() });
  await eventually("kept is gone too", async () => (await rig.session("kept")) === undefined);
});
