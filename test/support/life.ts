import { randomInt } from "node:crypto";
import { createKubeClient } from "#cluster/client.ts";
import type { ConfigMap } from "#cluster/core-types.ts";
import { childName } from "#cluster/objects.ts";
import {
  argusSessions,
  configMaps,
  persistentVolumeClaims,
  pods,
  serviceAccounts,
} from "#cluster/resources.ts";
import type { KubeClient, KubeObject } from "#cluster/types.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { silentLogger } from "#lib/logger.ts";
import { POD } from "#protocol/pod.ts";
import { FakeKubelet } from "../fakes/kubelet.ts";
import type { ApiPeer } from "./api-peer.ts";
import { ControllerProcess } from "./controller-process.ts";
import { eventually } from "./eventually.ts";
import type { Fault } from "./fault-proxy/faults.ts";
import { isWrite, type ProxiedRequest } from "./fault-proxy/request.ts";
import { FaultProxy } from "./fault-proxy.ts";
import { freshNamespace } from "./namespaces.ts";

/** The controller is killed at its n-th write: `before` it reaches the API server, or `after` it is committed. */
export interface CrashPoint {
  write: number;
  when: "before" | "after";
}

export interface Life {
  /** What the controller wrote, in order: `create pods`. */
  writes: string[];
  /** Writes that were made when the session was Ready for the first time. */
  writesToReady: number;
  crashed: boolean;
  /** Writes that the API server found invalid or forbidden. */
  refused: string[];
  /** Everything that exists when the session is Ready again after a suspension, without names and times. */
  alive: string;
  /** Everything that is left at the end, likewise. */
  left: string;
  /** Pods that ever were: one to start with, one after the suspension. */
  podsEver: number;
  podsAtOnce: number;
}

export interface LifeOptions {
  peer: ApiPeer;
  /** Folder of the bundled controller. */
  bundle: string;
  crash?: CrashPoint;
  /** What `alive` should become; waited for, since a crash may delay it. */
  expected?: string;
}

/** `left`, when all is gone: no object and no user id. */
export const NOTHING = JSON.stringify([{}], null, 1);
const NAME = "main";
const IDENTITY = "replica";
/** A world that nobody wrote to for this long is settled. */
const SETTLED_MS = 3000;
const WAIT_MS = 40_000;

let lives = 0;

/** create → Ready → suspended → Ready → deleted, with a controller that is restarted whenever it dies. */
export async function live({ peer, bundle, crash, expected }: LifeOptions): Promise<Life> {
  const kube = await createKubeClient({ kubeconfig: peer.kubeconfig, logger: silentLogger() });
  const namespace = await freshNamespace(kube, "life");
  await makeAccount(kube, namespace);
  const stage = new Stage({ kube, namespace, crash });
  const proxy = await FaultProxy.start(peer, { decide: (request) => stage.decide(request) });
  lives += 1;
  const podIP = `127.66.${randomInt(1, 255)}.${(lives % 250) + 1}`;
  const kubelet = await FakeKubelet.start({ kube, namespace, podIP });
  const start = () =>
    new ControllerProcess({ bundle, kubeconfig: proxy.kubeconfig, namespace, identity: IDENTITY });
  try {
    stage.supervise(start);
    await stage.apply({ persistentVolumeClaimRetentionPolicy: { whenDeleted: "Delete" } });
    await stage.condition("Ready", "True");
    const writesToReady = stage.writes.length;
    await stage.operate("Suspended");
    await stage.condition("Suspended", "True");
    await stage.operate("Running");
    await stage.condition("Ready", "True");
    const alive = await stage.settled(expected);
    await kube.delete(stage.ref);
    await eventually("the session is gone", async () => !(await kube.get(stage.ref)), WAIT_MS);
    const left = await stage.settled(NOTHING);
    const { writes, crashed, podsAtOnce } = stage;
    const podsEver = [...kubelet.seen.values()].reduce((sum, uids) => sum + uids.size, 0);
    const refused = proxy
      .writes()
      .filter(({ status = 0 }) => [400, 403, 422].includes(status))
      .map(({ verb, resource, name, status }) => `${verb} ${resource} ${name}: ${status}`);
    return { writes, writesToReady, crashed, refused, alive, left, podsEver, podsAtOnce };
  } finally {
    await stage.stop();
    await kubelet.stop();
    await proxy.close();
    await kube.close();
  }
}

/** The pods' account, as a release makes it; until admission knows it, a real API server refuses pods that name it. */
async function makeAccount(kube: KubeClient, namespace: string): Promise<void> {
  const metadata = { name: POD.serviceAccount, namespace };
  await kube.create<KubeObject>(serviceAccounts, {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata,
  });
  const spec = {
    serviceAccountName: POD.serviceAccount,
    containers: [{ name: "a", image: "none" }],
  };
  const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "probe", namespace }, spec };
  await eventually("admission knows the account", async () => {
    const path = `/api/v1/namespaces/${namespace}/pods`;
    const { status, body } = await kube.request("POST", path, {
      query: { dryRun: "All" },
      body: pod,
    });
    await body.dump();
    return status < 300;
  });
}

class Stage {
  readonly writes: string[] = [];
  crashed = false;
  podsAtOnce = 0;
  readonly ref: { resource: typeof argusSessions; namespace: string; name: string };
  readonly #kube: KubeClient;
  readonly #namespace: string;
  readonly #crash: CrashPoint | undefined;
  #controller: ControllerProcess | undefined;
  #over = false;
  #uid = "";
  #lastWriteMs = Date.now();

  constructor(made: { kube: KubeClient; namespace: string; crash: CrashPoint | undefined }) {
    this.#kube = made.kube;
    this.#namespace = made.namespace;
    this.#crash = made.crash;
    this.ref = { resource: argusSessions, namespace: made.namespace, name: NAME };
  }

  /** Keeps a controller running, as a Deployment does. */
  supervise(start: () => ControllerProcess): void {
    this.#controller = start();
    void this.#controller.exited().then(() => {
      if (!this.#over) this.supervise(start);
    });
  }

  async stop(): Promise<void> {
    this.#over = true;
    await this.#controller?.kill();
  }

  /** Counts writes and kills the controller at the chosen one. */
  async decide(request: ProxiedRequest): Promise<Fault | undefined> {
    const { verb, resource } = request;
    if (!isWrite(request) || resource === "leases" || resource === "events") return undefined;
    this.#lastWriteMs = Date.now();
    this.writes.push(`${verb} ${resource}`);
    if (this.crashed || this.writes.length !== this.#crash?.write) return undefined;
    this.crashed = true;
    if (this.#crash.when === "after") {
      return { kind: "lost", committed: () => this.#controller?.signal("SIGKILL") };
    }
    await this.#controller?.kill();
    return { kind: "reset" };
  }

  async apply(spec: object): Promise<void> {
    const metadata = { name: NAME, namespace: this.#namespace };
    const object = { apiVersion: "argus.dev/v1alpha1", kind: "ArgusSession", metadata, spec };
    const made = await this.#kube.create<KubeObject>(argusSessions, object);
    this.#uid = made.metadata.uid ?? "";
  }

  async operate(operatingMode: string): Promise<void> {
    const patch = [{ op: "add", path: "/spec/operatingMode", value: operatingMode } as const];
    await this.#kube.jsonPatch(this.ref, patch);
  }

  /** Waits for a condition that speaks of the present spec. */
  async condition(type: string, wanted: string): Promise<void> {
    await eventually(
      `${type} is ${wanted}`,
      async () => {
        await this.#countPods();
        const session = await this.#kube.get<ArgusSession>(this.ref);
        const found = session?.status?.conditions?.find((each) => each.type === type);
        const present = found?.observedGeneration === session?.metadata.generation;
        return present && found?.status === wanted;
      },
      WAIT_MS,
    );
  }

  /** What exists, once nobody writes any more (and it is as expected, where that is known). */
  async settled(expected: string | undefined): Promise<string> {
    let last = "";
    const asWanted = async () => {
      await this.#countPods();
      last = await this.#snapshot();
      const quiet = Date.now() - this.#lastWriteMs > SETTLED_MS;
      return expected === undefined ? quiet : last === expected;
    };
    await eventually("the world is settled", asWanted, WAIT_MS).catch(() => undefined);
    return last;
  }

  async #countPods(): Promise<void> {
    const { items } = await this.#kube.list(pods, { namespace: this.#namespace });
    this.podsAtOnce = Math.max(this.podsAtOnce, items.length);
  }

  async #snapshot(): Promise<string> {
    const namespace = this.#namespace;
    const all: unknown[] = [];
    for (const resource of [argusSessions, pods, persistentVolumeClaims]) {
      all.push(...(await this.#kube.list(resource, { namespace })).items);
    }
    const book = { resource: configMaps, namespace, name: "argus-uids" };
    all.push((await this.#kube.get<ConfigMap>(book))?.data ?? {});
    const uid = this.#uid;
    const hash = childName({ name: "", uid }).slice(1);
    return JSON.stringify(all, essential, 1)
      .replaceAll(uid, "<uid>")
      .replaceAll(hash, "<hash>")
      .replaceAll(namespace, "<namespace>")
      .replace(/("argus.dev\/pod-hash": )"\w+"/g, '$1"<hash>"')
      .replace(/\b127\.66\.\d+\.\d+\b/g, "<address>")
      .replace(/"\d{4}-\d\d-\d\dT[\d:.]+Z"/g, '"<time>"');
  }
}

const PASSING = new Set(["managedFields", "resourceVersion", "uid"]);

/** Without what differs from one life to the next. */
function essential(key: string, value: unknown): unknown {
  return PASSING.has(key) ? undefined : value;
}

/** Every point of a life: before and after each write. */
export function crashPoints(writes: number): CrashPoint[] {
  return Array.from({ length: writes }, (_, index) => index + 1).flatMap((write) => [
    { write, when: "before" as const },
    { write, when: "after" as const },
  ]);
}
