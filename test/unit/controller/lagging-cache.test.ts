import { expect, test } from "vitest";
import type { PersistentVolumeClaim, Pod } from "#cluster/core-types.ts";
import { EventRecorder } from "#cluster/events.ts";
import type { Informer, KubeClient, KubeObject, Resource } from "#cluster/types.ts";
import type { NetworkPolicy } from "#controller/network/policies.ts";
import { BridgeReader } from "#controller/session/bridge-reader.ts";
import { SessionReconciler } from "#controller/session/reconcile.ts";
import { UidBook } from "#controller/session/uid-book.ts";
import { Troubles } from "#controller/troubles.ts";
import { Written } from "#controller/written.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { silentLogger } from "#lib/logger.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { SETTINGS, sessionOf } from "../../support/sessions.ts";

/** A cache that shows what the test says, when the test says so. */
function stillCache<T extends KubeObject>() {
  const objects = new Map<string, T>();
  const state = { version: "1" };
  const informer = {
    get: (key: string) => objects.get(key),
    list: () => [...objects.values()],
    version: () => state.version,
    silenceMs: () => 0,
  } as unknown as Informer<T>;
  return { objects, state, informer };
}

async function rig() {
  const clock = new ManualClock();
  const logger = silentLogger();
  const writes: string[] = [];
  let version = 10;
  const answer = async (verb: string, resource: Resource, object: KubeObject) => {
    writes.push(`${verb} ${resource.plural}`);
    version += 1;
    const metadata = { ...object.metadata, resourceVersion: String(version) };
    return { ...object, metadata };
  };
  const kube = {
    get: async () => undefined,
    list: async () => ({ items: [], resourceVersion: "1" }),
    create: (resource: Resource, object: KubeObject) => answer("create", resource, object),
    replace: (resource: Resource, object: KubeObject) => answer("replace", resource, object),
    apply: async (_: Resource, object: KubeObject) => object,
    applyStatus: (resource: Resource, object: KubeObject) => answer("status", resource, object),
  } as unknown as KubeClient;
  const sessions = stillCache<ArgusSession>();
  const pods = stillCache<Pod>();
  const claims = stillCache<PersistentVolumeClaim>();
  const range = { first: 1, last: 9 };
  const book = new UidBook({ kube, namespace: "default", range, recorded: () => [] });
  await book.load();
  const reconciler = new SessionReconciler({
    kube,
    sessions: sessions.informer,
    pods: pods.informer,
    claims: claims.informer,
    services: stillCache().informer,
    policies: stillCache<NetworkPolicy>().informer,
    claimEvents: { words: () => undefined },
    podsOf: () => [],
    claimsOf: () => [],
    book,
    bridges: new BridgeReader({ logger, clock, onChange: () => undefined }),
    written: new Written(clock),
    troubles: new Troubles(logger),
    events: new EventRecorder({ kube, component: "test", logger, clock }),
    settings: SETTINGS,
    serviceAccountExists: true,
    clock,
  });
  sessions.objects.set("default/main", sessionOf());
  return { reconciler, writes, pods, claims, sessions, clock };
}

test("however often a key comes while the caches lag, each child is made once", async () => {
  const { reconciler, writes } = await rig();
  for (let i = 0; i < 50; i += 1) await reconciler.reconcile("default/main");
  expect(writes).toEqual(["create configmaps", "create persistentvolumeclaims", "create pods"]);
});

test("one cache that caught up is not enough", async () => {
  const { reconciler, writes, pods } = await rig();
  await reconciler.reconcile("default/main");
  pods.state.version = "1000";
  await reconciler.reconcile("default/main");
  expect(writes.filter((write) => write === "create pods")).toHaveLength(1);
});

test("a status that was written is not written again before it was seen", async () => {
  const { reconciler, writes, sessions } = await rig();
  sessions.objects.set("default/main", sessionOf({ podTemplate: { spec: { hostPID: true } } }));
  await expect(reconciler.reconcile("default/main")).rejects.toThrow("hostPID");
  for (let i = 0; i < 10; i += 1) await reconciler.reconcile("default/main");
  expect(writes).toEqual(["status argussessions"]);
});

test("a spec that no schema admits is a condition, not a crash", async () => {
  const { reconciler, writes, sessions } = await rig();
  const broken = { ...sessionOf(), spec: { limits: "many" } } as unknown as ArgusSession;
  sessions.objects.set("default/main", broken);
  await expect(reconciler.reconcile("default/main")).rejects.toThrow("limits");
  expect(writes).toEqual(["status argussessions"]);
});
