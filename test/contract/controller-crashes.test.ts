import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bundle } from "../../scripts/bundle.ts";
import { type ApiPeer, startPeer } from "../support/api-peer.ts";
import { RandomFaults } from "../support/fault-proxy/faults.ts";
import { crashPoints, type Life, live, NOTHING } from "../support/life.ts";
import { proofSize } from "../support/proof.ts";

const size = proofSize(4, 1000);
const random = new RandomFaults(Number(process.env.SEED) || undefined);

let peer: ApiPeer;
let folder: string;
let undisturbed: Life;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "argus-crashes-"));
  await bundle(join(folder, "bundle"));
  peer = await startPeer();
  undisturbed = await live({ peer, bundle: join(folder, "bundle") });
});
afterAll(async () => {
  await peer.close();
  await rm(folder, { recursive: true });
});

/** What a life must be like: one pod at a time, two in all, everything gone at the end. */
function expectOrder(life: Life): void {
  expect(life).toMatchObject({ podsEver: 2, podsAtOnce: 1 });
  expect(life.left).toBe(NOTHING);
}

test("a session's whole life takes at most 14 writes, 5 of them until it is Ready", () => {
  expectOrder(undisturbed);
  expect(undisturbed.refused).toEqual([]);
  const counted = undisturbed.writes.filter(
    (write) => !/serviceaccounts|networkpolicies/.test(write),
  );
  expect(counted.length, counted.join(", ")).toBeLessThanOrEqual(14);
  const toReady = undisturbed.writes.slice(0, undisturbed.writesToReady);
  const once = toReady.filter((write) => !/serviceaccounts|networkpolicies/.test(write));
  expect(once.length, once.join(", ")).toBeLessThanOrEqual(5);
});

test(
  "killed at any write, the next controller ends in the same state",
  async () => {
    const points = crashPoints(undisturbed.writes.length);
    const chosen = Array.from({ length: Math.min(size, points.length) }, () => {
      const [point] = points.splice(random.below(points.length), 1);
      if (!point) throw new Error("no crash point left");
      return point;
    });
    for (const crash of chosen) {
      const where = `SEED=${random.seed}: ${crash.when} write ${crash.write}`;
      const options = { peer, bundle: join(folder, "bundle"), crash, expected: undisturbed.alive };
      const life = await live(options);
      expect(life.crashed, where).toBe(true);
      expect(life.alive, where).toEqual(undisturbed.alive);
      expectOrder(life);
    }
  },
  15 * 60_000,
);
