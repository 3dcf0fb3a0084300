import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import type { Pod } from "#cluster/core-types.ts";
import { startInformer } from "#cluster/informer.ts";
import { objectPath, pods } from "#cluster/resources.ts";
import type { KubeClient } from "#cluster/types.ts";
import { silentLogger } from "#lib/logger.ts";
import { WorkQueue } from "#lib/workqueue.ts";
import type { BridgeStatus } from "#protocol/bridge.ts";
import { LABEL, POD } from "#protocol/pod.ts";

export interface FakeKubeletOptions {
  kube: KubeClient;
  /** Default: all. */
  namespace?: string;
  /** Loopback address of every pod; a bridge answers there on the probe port. */
  podIP?: string;
  workers?: number;
}

const NODE = "fake-node";
/** From the container's start to its readiness. */
const START_MS = 300;
const STATUS: BridgeStatus = {
  boot: "boot",
  seq: 0,
  state: "hot",
  peers: 0,
  busyThreads: 0,
  openApprovals: 0,
  restarts: 0,
  garbageLines: 0,
  install: { state: "none" },
  pidIsolation: "UniqueUid",
};

/**
 * Gives session pods a node, says that they run, and lets them go when they are to end. No container runs; one bridge
 * answers the probes of all.
 */
export class FakeKubelet {
  /** UIDs of all pods ever seen, by `namespace/name`. */
  readonly seen = new Map<string, Set<string>>();
  readonly #options: Required<Omit<FakeKubeletOptions, "namespace">>;
  readonly #queue = new WorkQueue({ bucket: { perSecond: 1000, burst: 1000 } });
  readonly #stop = new AbortController();
  readonly #bridge: Server;
  readonly #ended: Promise<unknown>[] = [];

  private constructor(options: FakeKubeletOptions, bridge: Server) {
    this.#options = { podIP: "127.0.0.1", workers: 16, ...options };
    this.#bridge = bridge;
  }

  static async start(options: FakeKubeletOptions): Promise<FakeKubelet> {
    const bridge = createServer((_, answer) => answer.end(JSON.stringify(STATUS)));
    if (options.podIP) {
      bridge.listen(POD.ports.probe.number, options.podIP);
      await once(bridge, "listening");
    }
    const kubelet = new FakeKubelet(options, bridge);
    await kubelet.#run(options.namespace);
    return kubelet;
  }

  async stop(): Promise<void> {
    this.#stop.abort(new Error("the kubelet stops"));
    this.#bridge.close();
    this.#bridge.closeAllConnections();
    await Promise.all(this.#ended);
  }

  async #run(namespace: string | undefined): Promise<void> {
    const { kube, workers } = this.#options;
    const options = { namespace, labelSelector: LABEL.sessionUid, logger: silentLogger() };
    const all = startInformer<Pod>(kube, pods, options, this.#stop.signal);
    all.onChange((key, { metadata }) => {
      const uids = this.seen.get(key) ?? new Set();
      this.seen.set(key, uids.add(metadata.uid ?? ""));
      this.#queue.add(key);
    });
    await all.synced(this.#stop.signal);
    for (let i = 0; i < workers; i += 1) this.#ended.push(this.#work((key) => all.get(key)));
    this.#ended.push(all.closed);
  }

  async #work(find: (key: string) => Pod | undefined): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const key = await this.#queue.take(this.#stop.signal).catch(() => undefined);
      if (key === undefined) return;
      const pod = find(key);
      const done = !pod || (await this.#step(pod).catch(() => false));
      this.#queue.done(key);
      if (!done) this.#queue.addAfter(key, 100);
    }
  }

  /** The next thing that a kubelet (or scheduler) does for this pod; its own event brings the one after that. */
  async #step(pod: Pod): Promise<boolean> {
    const { uid, deletionTimestamp } = pod.metadata;
    if (deletionTimestamp) {
      const body = { gracePeriodSeconds: 0, preconditions: { uid } };
      return await this.#call("DELETE", pod, { body });
    }
    if (!pod.spec.nodeName) {
      const target = { apiVersion: "v1", kind: "Node", name: NODE };
      const { name, namespace } = pod.metadata;
      const body = { apiVersion: "v1", kind: "Binding", metadata: { name, namespace }, target };
      return await this.#call("POST", pod, { subresource: "binding", body });
    }
    const running = pod.status?.phase === "Running";
    if (running && isReady(pod)) return true;
    // Its app-server takes a while before the probe holds.
    if (running) await delay(START_MS, undefined, { signal: this.#stop.signal });
    return await this.#call("PATCH", pod, {
      subresource: "status",
      body: { status: runningStatus(pod, { podIP: this.#options.podIP, ready: running }) },
      contentType: "application/merge-patch+json",
    });
  }

  /** True unless it is worth another try. */
  async #call(
    method: string,
    { metadata }: Pod,
    call: { subresource?: string; body: unknown; contentType?: string },
  ): Promise<boolean> {
    const { subresource, ...options } = call;
    const path = objectPath(pods, metadata.namespace ?? "", metadata.name);
    const full = subresource ? `${path}/${subresource}` : path;
    const answer = await this.#options.kube.request(method, full, options);
    await answer.body.dump();
    // Not found, or another one has its name by now.
    return answer.status < 300 || answer.status === 404 || answer.status === 409;
  }
}

const isReady = ({ status }: Pod): boolean =>
  status?.conditions?.some((each) => each.type === "Ready" && each.status === "True") ?? false;

function runningStatus({ spec }: Pod, { podIP, ready }: { podIP: string; ready: boolean }): object {
  const startedAt = "2030-01-01T00:00:00Z";
  const probed = ["ContainersReady", "Ready"];
  return {
    phase: "Running",
    podIP,
    podIPs: [{ ip: podIP }],
    startTime: startedAt,
    conditions: ["PodScheduled", "Initialized", ...probed].map((type) => ({
      type,
      status: ready || !probed.includes(type) ? "True" : "False",
      lastTransitionTime: startedAt,
    })),
    containerStatuses: spec.containers.map(({ name, image = "" }) => ({
      name,
      image,
      imageID: "sha256:0",
      ready,
      started: true,
      restartCount: 0,
      state: { running: { startedAt } },
    })),
  };
}
