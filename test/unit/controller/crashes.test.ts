import { expect, test } from "vitest";
import {
  configMaps,
  networkPolicies,
  persistentVolumeClaims,
  pods,
  services,
} from "#cluster/resources.ts";
import type { KubeObject } from "#cluster/types.ts";
import type { ArgusSessionSpecInput } from "#crds/argus-session.ts";
import { proofSize } from "../../support/proof.ts";
import { randomFrom } from "../../support/replicas.ts";
import {
  type Fate,
  ownPods,
  SessionWorld,
  type SimulatedController,
} from "../../support/session-world.ts";

const BASE: ArgusSessionSpecInput = {
  service: true,
  networkPolicy: { egress: [{ to: [{ ipBlock: { cidr: "10.1.0.0/16" } }] }] },
  idle: { suspendAfterSeconds: 600 },
};

/** A full life: create, Ready, suspend by a person, resume, another spec, suspend by idleness, wake, delete. */
const LIFE: [step: string, doIt: (world: SessionWorld) => void][] = [
  ["create", (world) => world.apply(BASE)],
  ["suspend", (world) => world.apply({ ...BASE, operatingMode: "Suspended" })],
  ["resume", (world) => world.apply(BASE)],
  ["change", (world) => world.apply({ ...BASE, service: false, runtime: { args: ["--new"] } })],
  ["idle", (world) => world.demand("None")],
  ["wake", (world) => world.demand("Open")],
  ["open", (world) => world.apply({ ...BASE, networkPolicy: { egressMode: "Open" } })],
  ["delete", (world) => world.deleteSession()],
  [
    "free",
    (world) => {
      for (const claim of world.all(persistentVolumeClaims))
        world.remove(persistentVolumeClaims, claim);
    },
  ],
];

/** Everything runs until nothing changes; a controller that died is followed by another. */
async function settle(world: SessionWorld, current: { controller: SimulatedController }) {
  for (let quiet = 0; quiet < 3; ) {
    const before = world.log.length;
    if (current.controller.dead) current.controller = await world.controller();
    for (const cache of current.controller.caches) cache.deliver();
    await current.controller.reconcile();
    world.kubelet();
    expect(ownPods(world).length).toBeLessThanOrEqual(1);
    await world.clock.advance(2000);
    quiet = world.log.length === before && !current.controller.dead ? quiet + 1 : 0;
  }
}

interface Lived {
  world: SessionWorld;
  /** What is left after each step, without what names an instant or an incarnation. */
  states: unknown[];
  /** Writes of each step, without events. */
  counts: Record<string, number>;
}

async function live(
  fate: (write: string, index: number) => Fate = () => undefined,
): Promise<Lived> {
  const world = new SessionWorld();
  world.fate = fate;
  const current = { controller: await world.controller() };
  const states: unknown[] = [];
  const counts: Record<string, number> = {};
  for (const [step, doIt] of LIFE) {
    const before = world.writes.length;
    doIt(world);
    if (step === "idle") await world.clock.advance(700_000);
    await settle(world, current);
    states.push(stateOf(world));
    counts[step] = world.writes.slice(before).filter((write) => write !== "apply events").length;
  }
  return { world, states, counts };
}

function stateOf(world: SessionWorld): unknown {
  const shown = (object: KubeObject) => {
    const { uid: _, resourceVersion: __, creationTimestamp: ___, ...metadata } = object.metadata;
    const text = JSON.stringify({ ...object, metadata });
    return text
      .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "T")
      .replaceAll(/uid-\d+/g, "U")
      .replaceAll(/main-[0-9a-f]{8}/g, "main-H");
  };
  const children = [pods, persistentVolumeClaims, services, networkPolicies, configMaps];
  const session = world.session();
  return {
    session: session && shown(session),
    children: children.flatMap((resource) => world.all(resource).map(shown)),
  };
}

test("a whole life costs at most five writes until it is Ready and fourteen in all", async () => {
  const world = new SessionWorld();
  const current = { controller: await world.controller() };
  const plain: [string, () => void][] = [
    ["create", () => world.apply({})],
    ["suspend", () => world.apply({ operatingMode: "Suspended" })],
    ["resume", () => world.apply({})],
    ["delete", () => world.deleteSession()],
  ];
  const counts: number[] = [];
  for (const [, doIt] of plain) {
    const before = world.writes.length;
    doIt();
    await settle(world, current);
    counts.push(world.writes.slice(before).filter((write) => write !== "apply events").length);
  }
  expect(counts[0]).toBeLessThanOrEqual(5);
  expect(counts.reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(14);
});

test("in every phase a second look writes nothing", async () => {
  const world = new SessionWorld();
  const current = { controller: await world.controller() };
  for (const [step, doIt] of LIFE) {
    doIt(world);
    if (step === "idle") await world.clock.advance(700_000);
    await settle(world, current);
    const before = world.writes.length;
    for (let i = 0; i < 5; i += 1) {
      await current.controller.reconcile();
      await world.clock.advance(60_000);
    }
    expect(world.writes.slice(before), step).toEqual([]);
    // Nor does a controller that has just begun.
    current.controller = await world.controller();
    await current.controller.reconcile();
    expect(world.writes.slice(before), step).toEqual([]);
  }
});

test("a status that waits for more steps is written when its controller stops, and its successor writes nothing", async () => {
  const world = new SessionWorld();
  const current = { controller: await world.controller() };
  world.apply({});
  await settle(world, current);
  for (const [pod] of [ownPods(world)]) {
    const status = { ...pod?.status, podIPs: [{ ip: "10.0.0.7" }] };
    world.put(pods, { ...pod, status } as KubeObject);
  }
  const { controller } = current;
  for (const cache of controller.caches) cache.deliver();
  const before = world.writes.length;
  await controller.reconcile();
  expect(world.writes.slice(before)).toEqual([]);
  await controller.finish();
  expect(world.writes.slice(before)).toEqual(["applyStatus argussessions"]);
  const next = await world.controller();
  for (let i = 0; i < 5; i += 1) {
    await next.reconcile();
    await world.clock.advance(30_000);
  }
  expect(world.writes.length).toBe(before + 1);
});

test("killed before or after every write of a whole life, the next controller ends in the same states", async () => {
  const calm = await live();
  expect(calm.world.objects.size).toBeGreaterThan(0);
  const last = calm.world.writes.length;
  let points = 0;
  for (let index = 0; index < last; index += 1) {
    for (const when of ["before", "after"] as const) {
      const { world, states } = await live((_, at) => (at === index ? when : undefined));
      const point = `${when} write ${index} (${calm.world.writes[index]})`;
      expect(states, point).toEqual(calm.states);
      const made = (each: SessionWorld) =>
        each.log.filter(
          (entry) =>
            entry.resource === "pods" &&
            !entry.gone &&
            !entry.object.metadata.deletionTimestamp &&
            !("status" in entry.object),
        ).length;
      expect(made(world), point).toBe(made(calm.world));
      points += 1;
    }
  }
  console.log(`${points} crash points`);
  expect(points).toBeGreaterThanOrEqual(60);
});

test("an answer that is lost, at every write, changes nothing either", async () => {
  const calm = await live();
  for (let index = 0; index < calm.world.writes.length; index += 1) {
    const { states } = await live((_, at) => (at === index ? "lost" : undefined));
    expect(states, `${calm.world.writes[index]} lost`).toEqual(calm.states);
  }
});

const SPECS: ArgusSessionSpecInput[] = [
  {},
  { operatingMode: "Suspended" },
  { runtime: { args: ["--a"] } },
  { runtime: { args: ["--b"] }, service: true },
  { idle: { suspendAfterSeconds: 30 } },
];

/** Random steps of a person, kubelet, lagging caches and hasty reconciles; how many looks were taken. */
async function interleave(
  seed: number,
  gate = true,
): Promise<{ looks: number; collisions: number }> {
  const random = randomFrom(seed);
  const pick = <T>(list: T[]): T => list[Math.floor(random() * list.length)] as T;
  const world = new SessionWorld();
  const current = { controller: await world.controller(gate) };
  world.apply(pick(SPECS));
  let looks = 0;
  for (let step = 0; step < 40; step += 1) {
    const dice = random();
    if (dice < 0.4) {
      await current.controller.reconcile();
      looks += 1;
    } else if (dice < 0.75) pick(current.controller.caches).deliver(1 + Math.floor(random() * 4));
    else if (dice < 0.85) world.kubelet();
    else if (dice < 0.9) world.apply(pick(SPECS));
    else if (dice < 0.95) world.demand(random() < 0.5 ? "Open" : "None");
    else await world.clock.advance(random() * 5000);
    expect(ownPods(world).length, `seed ${seed}`).toBeLessThanOrEqual(1);
  }
  const { collisions } = world;
  world.apply({ runtime: { args: ["--end"] } });
  await settle(world, current);
  expect(
    ownPods(world).map(({ metadata }) => metadata.deletionTimestamp),
    `seed ${seed}`,
  ).toEqual([undefined]);
  return { looks, collisions };
}

test("however far the caches are behind, nothing is made twice", async () => {
  const wanted = proofSize(400, 20_000);
  let looks = 0;
  for (let seed = 1; seed <= wanted; seed += 1) {
    const found = await interleave(seed);
    looks += found.looks;
    expect(found.collisions, `seed ${seed}`).toBe(0);
  }
  console.log(`${looks} looks in ${wanted} runs`);
}, 3_600_000);

test("without the memory of its own writes it is caught within a thousand runs", async () => {
  let seed = 1;
  for (; seed <= 1000; seed += 1) {
    if ((await interleave(seed, false)).collisions > 0) break;
  }
  expect(seed).toBeLessThanOrEqual(1000);
});
