import { afterAll, beforeAll, expect, test } from "vitest";
import { createKubeClient } from "#cluster/client.ts";
import { configMaps } from "#cluster/resources.ts";
import { silentLogger } from "#lib/logger.ts";
import { type ApiPeer, startPeer } from "../support/api-peer.ts";
import { FaultProxy } from "../support/fault-proxy.ts";
import { proofSize } from "../support/proof.ts";
import { watchThroughFaults } from "../support/watch-faults.ts";

const faults = proofSize(600, 10_000);
const seed = Number(process.env.SEED) || undefined;

let peer: ApiPeer;
beforeAll(async () => {
  peer = await startPeer();
});
afterAll(() => peer.close());

test.each([true, false])(
  "through random faults every cache ends like a fresh list, HTTP/2: %s",
  async (http2) => {
    const half = Math.ceil(faults / 2);
    const result = await watchThroughFaults({ peer, faults: half, http2, ...(seed && { seed }) });
    console.info(`seed ${result.seed}: ${JSON.stringify(Object.fromEntries(result.counts))}`);
    expect(result.wrong, `SEED=${result.seed}`).toEqual([]);
    expect(result.injected).toBeGreaterThanOrEqual(half);
    expect(result.compared).toBeGreaterThan(0);
  },
  15 * 60_000,
);

test("a connection that answers no pings is replaced, and with it the calls that wait on it", async () => {
  const proxy = await FaultProxy.start(peer);
  const { kubeconfig } = proxy;
  const kube = await createKubeClient({ kubeconfig, pingIntervalMs: 50, logger: silentLogger() });
  try {
    const list = () => kube.list(configMaps, { namespace: "default" });
    await list();
    let silenced = false;
    proxy.decide = () => {
      if (silenced) return undefined;
      silenced = true;
      return { kind: "silent" };
    };
    // Each of these shares the dead connection; being reads they are asked once more on the next one.
    await Promise.all([list(), list(), list()]);
    expect(proxy.connections.total).toBeGreaterThan(1);
  } finally {
    await kube.close();
    await proxy.close();
  }
});
