import { expect, test } from "vitest";
import { pods } from "#cluster/resources.ts";
import type { KubeObject } from "#cluster/types.ts";
import { ownPods, SessionWorld } from "../../support/session-world.ts";

const EVICTED = { phase: "Failed", reason: "Evicted", message: "ephemeral storage is over" };

/** As an API server does it with a pod that has ended: its object is gone at once. */
function dropDeleted(world: SessionWorld): void {
  for (const pod of ownPods(world)) if (pod.metadata.deletionTimestamp) world.remove(pods, pod);
}

test("what ended a pod is in the status before the pod's object goes", async () => {
  const world = new SessionWorld();
  world.apply({});
  const controller = await world.controller();
  const turn = async () => {
    for (const cache of controller.caches) cache.deliver();
    await controller.reconcile();
    dropDeleted(world);
    await world.clock.advance(2000);
  };
  for (let round = 0; round < 10; round += 1) {
    await turn();
    world.kubelet();
  }
  const [old] = ownPods(world);
  // Longer than a pod that ended is waited with.
  await world.clock.advance(60_000);
  world.put(pods, { ...old, status: EVICTED } as KubeObject);
  for (let round = 0; round < 10; round += 1) await turn();
  const [next] = ownPods(world);
  expect(next?.metadata.uid).not.toBe(old?.metadata.uid);
  expect(world.session()?.status?.lastTermination).toMatchObject({ reason: "Evicted" });
});
