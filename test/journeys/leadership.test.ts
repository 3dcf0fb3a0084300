import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { freePort } from "#cli/up/ports.ts";
import type { Lease } from "#cluster/lease.ts";
import { leases } from "#cluster/resources.ts";
import { ControllerRig, NAMESPACE } from "../support/controller-rig.ts";
import { eventually } from "../support/eventually.ts";

const root = join(import.meta.dirname, "..", "..");
let rig: ControllerRig;
const replicas = new Map<string, ChildProcess>();
beforeAll(async () => {
  rig = await ControllerRig.start();
});
afterAll(async () => {
  for (const replica of replicas.values()) replica.kill("SIGKILL");
  await rig.stop();
});

/** A controller as a process of its own; resolves when it is ready, as the leader or a standby. */
async function replica(name: string): Promise<void> {
  const port = await freePort(0, "port");
  const env = {
    PATH: process.env["PATH"],
    KUBECONFIG: rig.kubeconfig,
    ARGUS_IDENTITY: name,
    ARGUS_LISTEN: `127.0.0.1:${port}`,
  };
  replicas.set(name, spawn(join(root, "argus"), ["controller"], { env, stdio: "ignore" }));
  const ready = `http://127.0.0.1:${port}/readyz`;
  await eventually(`${name} is ready`, async () => (await fetch(ready)).status === 200);
}

async function leader(): Promise<string | undefined> {
  const ref = { resource: leases, namespace: NAMESPACE, name: "argus-controller" };
  return (await rig.kube.get<Lease>(ref))?.spec?.holderIdentity;
}

/** Ends the leader and asks for a session at once; how long until its pod was made. */
async function failOver(signal: "SIGKILL" | "SIGTERM", session: string): Promise<number> {
  const old = await eventually("a leader", leader);
  const victim = replicas.get(old);
  if (!victim) throw new Error(`no replica ${old}`);
  const ended = once(victim, "exit");
  const startMs = performance.now();
  victim.kill(signal);
  await rig.apply(session);
  await eventually("a pod by the successor", async () =>
    (await rig.pods()).some(({ metadata }) => metadata.name.startsWith(session)),
  );
  const tookMs = performance.now() - startMs;
  await ended;
  expect(await leader()).not.toBe(old);
  return tookMs;
}

test("a standby acts within two seconds of the leader's SIGTERM and twenty of its SIGKILL", async () => {
  await Promise.all(["one", "two", "three"].map(replica));
  await rig.apply("first");
  await rig.pod();
  const orderly = await failOver("SIGTERM", "second");
  const sudden = await failOver("SIGKILL", "third");
  console.log(
    `fail-over: ${Math.round(orderly)} ms after SIGTERM, ${Math.round(sudden)} ms after SIGKILL`,
  );
  expect(orderly).toBeLessThan(2000);
  expect(sudden).toBeLessThan(20_000);
  expect(await rig.pods()).toHaveLength(3);
}, 120_000);
