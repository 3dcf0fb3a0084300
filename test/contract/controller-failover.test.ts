import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bundle } from "../../scripts/bundle.ts";
import { type ApiPeer, startPeer } from "../support/api-peer.ts";
import { failOver, type Loss } from "../support/failover.ts";

let peer: ApiPeer;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "argus-failover-"));
  await bundle(join(folder, "bundle"));
  peer = await startPeer();
});
afterAll(async () => {
  await peer.close();
  await rm(folder, { recursive: true });
});

const LOSSES: { loss: Loss; lostMs: number }[] = [
  { loss: "kill -9", lostMs: 0 },
  { loss: "SIGTERM", lostMs: 0 },
  { loss: "cut off", lostMs: 18_000 },
  { loss: "stopped", lostMs: 18_000 },
];

// How soon is for the benchmark to say: a machine that others use is no clock.
test.concurrent.each(LOSSES)(
  "after its leader was lost ($loss) a standby acts, and the lost one writes no more",
  async ({ loss, lostMs }) => {
    const made = await failOver({ peer, bundle: join(folder, "bundle") }, loss, lostMs);
    expect(made.actsAfterMs).toBeGreaterThan(0);
    // One request may be on its way when the lead is lost.
    expect(made.lateWrites.length, made.lateWrites.join(", ")).toBeLessThanOrEqual(1);
  },
  120_000,
);
