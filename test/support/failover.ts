import { setTimeout as delay } from "node:timers/promises";
import { createKubeClient } from "#cluster/client.ts";
import { argusSessions } from "#cluster/resources.ts";
import type { KubeClient } from "#cluster/types.ts";
import { silentLogger } from "#lib/logger.ts";
import type { ApiPeer } from "./api-peer.ts";
import { ControllerProcess } from "./controller-process.ts";
import { eventually } from "./eventually.ts";
import { FaultProxy } from "./fault-proxy.ts";
import { freshNamespace } from "./namespaces.ts";

/** How the leader is lost. */
export type Loss = "kill -9" | "SIGTERM" | "cut off" | "stopped";

export interface Failover {
  /** From the loss to the first write of the successor for a session that was made after it. */
  actsAfterMs: number;
  /** What the old leader wrote successfully after the successor's first write, until it ended or was checked on. */
  lateWrites: string[];
}

interface Replica {
  proxy: FaultProxy;
  controller: ControllerProcess;
}

const WAIT_MS = 60_000;
/** Somebody who may not write does not for so long after he is back. */
const BACK_MS = 8000;

/** Two controllers, each behind a proxy of its own; the leader is lost and, where it survives, comes back. */
export async function failOver(
  { peer, bundle }: { peer: ApiPeer; bundle: string },
  loss: Loss,
  lostMs: number,
): Promise<Failover> {
  const kube = await createKubeClient({ kubeconfig: peer.kubeconfig, logger: silentLogger() });
  const namespace = await freshNamespace(kube, "failover");
  const replicas: Replica[] = [];
  const replica = async (identity: string): Promise<Replica> => {
    const proxy = await FaultProxy.start(peer);
    const { kubeconfig } = proxy;
    const controller = new ControllerProcess({ bundle, kubeconfig, namespace, identity });
    replicas.push({ proxy, controller });
    return { proxy, controller };
  };
  try {
    const leader = await replica("first");
    await leader.controller.logged("works");
    const standby = await replica("second");
    await eventually("the standby has its caches", () => standby.proxy.openWatches >= 4, WAIT_MS);
    await create(kube, namespace, "before");
    await eventually("the leader works", () => creates(leader.proxy).length >= 1, WAIT_MS);
    const lostAtMs = Date.now();
    const lose = lossOf(loss, leader);
    // Work for both: the one that may and the one that may not.
    await create(kube, namespace, "after");
    // A leader that ends in peace may still make the pod of "after": the successor gets a session of its own.
    if (loss === "SIGTERM") {
      await leader.controller.exited();
      await create(kube, namespace, "later");
    }
    const [first] = await eventually(
      "the successor acts",
      () => creates(standby.proxy).length >= 1 && creates(standby.proxy),
      WAIT_MS,
    );
    const actedAtMs = first?.atMs ?? Number.NaN;
    const overlap = await comeBack(leader, {
      loss,
      lostAtMs,
      lostMs,
      lose,
      create: (name) => create(kube, namespace, name),
    });
    const lateWrites = overlap
      .filter(({ atMs, status = 0 }) => atMs > actedAtMs && status < 300 && status > 0)
      .map(({ verb, resource, name }) => `${verb} ${resource} ${name}`);
    return { actsAfterMs: actedAtMs - lostAtMs, lateWrites };
  } finally {
    for (const { controller } of replicas) {
      controller.signal("SIGCONT");
      await controller.kill();
    }
    for (const { proxy } of replicas) await proxy.close();
    await kube.close();
  }
}

const creates = (proxy: FaultProxy) =>
  proxy.writes().filter(({ verb, resource }) => verb === "create" && resource === "pods");

/** Loses the leader; the answer brings it back. */
function lossOf(loss: Loss, { proxy, controller }: Replica): () => void {
  if (loss === "kill -9") controller.signal("SIGKILL");
  if (loss === "SIGTERM") controller.signal("SIGTERM");
  if (loss === "cut off") proxy.freeze();
  if (loss === "stopped") controller.signal("SIGSTOP");
  return () => {
    if (loss === "cut off") proxy.heal();
    if (loss === "stopped") controller.signal("SIGCONT");
  };
}

async function comeBack(
  { proxy, controller }: Replica,
  made: {
    loss: Loss;
    lostAtMs: number;
    lostMs: number;
    lose: () => void;
    create: (name: string) => Promise<void>;
  },
) {
  if (made.loss === "cut off" || made.loss === "stopped") {
    await delay(Math.max(0, made.lostAtMs + made.lostMs - Date.now()));
    made.lose();
    // Sessions that it would act on if it still thought that it leads.
    for (let i = 0; i < 4; i += 1) {
      await made.create(`back-${i}`);
      await delay(BACK_MS / 4);
    }
  } else {
    await controller.exited();
  }
  return proxy.writes();
}

async function create(kube: KubeClient, namespace: string, name: string): Promise<void> {
  const metadata = { name, namespace };
  const object = { apiVersion: "argus.dev/v1alpha1", kind: "ArgusSession", metadata, spec: {} };
  await kube.create(argusSessions, object);
}
