import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createKubeClient } from "#cluster/client.ts";
import type { Pod, PodStatus } from "#cluster/core-types.ts";
import { argusSessions, customResourceDefinitions, pods } from "#cluster/resources.ts";
import type { KubeClient, KubeObject } from "#cluster/types.ts";
import { startController } from "#controller/controller.ts";
import type { ControllerOptions } from "#controller/options.ts";
import type { ArgusSessionSpecInput } from "#crds/argus-session.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { customResourceDefinitions as crds } from "#crds/kinds.ts";
import { silentLogger } from "#lib/logger.ts";
import type { Listening } from "#lib/running.ts";
import { startApiServer } from "#localcluster/api-server.ts";
import { kubeconfigYaml } from "#localcluster/kubeconfig.ts";
import type { ApiServer } from "#localcluster/options.ts";
import { eventually } from "./eventually.ts";

export const NAMESPACE = "default";

/** Writes of a controller, in order: `create pods`, `applyStatus argussessions`. */
export type Write = string;

/** A client that records each write and may be told to break before or after one. */
export function recordingKube(
  kube: KubeClient,
  writes: Write[],
  around: (write: Write, call: () => Promise<unknown>) => Promise<unknown> = (_, call) => call(),
): KubeClient {
  const record = async <T>(verb: string, plural: string, call: () => Promise<T>): Promise<T> => {
    const write = `${verb} ${plural}`;
    if (plural === "leases") return await call();
    // What belongs to no session is not counted.
    if (plural !== "events" && write !== "apply networkpolicies") writes.push(write);
    return (await around(write, call)) as T;
  };
  return {
    ...kube,
    create: (resource, object) =>
      record("create", resource.plural, () => kube.create(resource, object)),
    replace: (resource, object) =>
      record("replace", resource.plural, () => kube.replace(resource, object)),
    apply: (resource, object, options) =>
      record("apply", resource.plural, () => kube.apply(resource, object, options)),
    applyStatus: (resource, object, options) =>
      record("applyStatus", resource.plural, () => kube.applyStatus(resource, object, options)),
    jsonPatch: (ref, patch) =>
      record("jsonPatch", ref.resource.plural, () => kube.jsonPatch(ref, patch)),
    delete: (ref, preconditions) =>
      record("delete", ref.resource.plural, () => kube.delete(ref, preconditions)),
    fenced: (fence) => recordingKube(kube.fenced(fence), writes, around),
  };
}

export interface RunningController extends Listening {
  kill(): void;
  stop(): Promise<void>;
}

/** An API server, its CRDs, and a test that plays the kubelet. */
export class ControllerRig {
  readonly kube: KubeClient;
  readonly kubeconfig: string;
  readonly #folder: string;
  readonly #stop: AbortController;
  readonly #server: ApiServer;

  private constructor(parts: {
    kube: KubeClient;
    kubeconfig: string;
    folder: string;
    stop: AbortController;
    server: ApiServer;
  }) {
    this.kube = parts.kube;
    this.kubeconfig = parts.kubeconfig;
    this.#folder = parts.folder;
    this.#stop = parts.stop;
    this.#server = parts.server;
  }

  static async start(): Promise<ControllerRig> {
    const folder = await mkdtemp(join(tmpdir(), "argus-controller-"));
    const stop = new AbortController();
    const logger = silentLogger();
    const logs = { read: () => noLogs() };
    const server = await startApiServer(
      { folder: join(folder, "server"), port: 0, logger, logs },
      stop.signal,
    );
    const kubeconfig = join(folder, "kubeconfig");
    const url = `https://${server.host}:${server.port}`;
    const { admin: token } = server.tokens;
    const access = { server: url, caPem: server.caPem, token, user: "admin", namespace: NAMESPACE };
    await writeFile(kubeconfig, kubeconfigYaml(access));
    const kube = await createKubeClient({ kubeconfig, logger });
    for (const crd of crds()) {
      await kube.apply(customResourceDefinitions, crd as unknown as KubeObject, {
        fieldManager: "test",
        force: true,
      });
    }
    await eventually("the CRDs are served", async () => (await kube.list(argusSessions)) && true);
    return new ControllerRig({ kube, kubeconfig, folder, stop, server });
  }

  async stop(): Promise<void> {
    await this.kube.close();
    this.#stop.abort(new Error("stopped by SIGTERM"));
    await this.#server.closed;
    await rm(this.#folder, { recursive: true });
  }

  /** A controller in this process; `kill` drops it in the middle of whatever it does. */
  async controller(options: Partial<ControllerOptions> = {}): Promise<RunningController> {
    const abort = new AbortController();
    const running = await startController(
      {
        kube: this.kube,
        namespace: NAMESPACE,
        defaultImage: "argus:test",
        gatewayUrl: "http://127.0.0.1:8080",
        // A killed controller's successor need not wait for the Lease, as a container that is restarted.
        identity: "replica",
        host: "127.0.0.1",
        port: 0,
        uidRange: { first: 200_000, last: 200_099 },
        logger: silentLogger(),
        ...options,
      },
      abort.signal,
    );
    const kill = () => abort.abort(new Error("test over"));
    const stop = async () => {
      kill();
      await running.closed;
    };
    return { ...running, kill, stop };
  }

  apply(name: string, spec: ArgusSessionSpecInput = {}): Promise<KubeObject> {
    const object = {
      apiVersion: "argus.dev/v1alpha1",
      kind: "ArgusSession",
      metadata: { name, namespace: NAMESPACE },
      spec,
    };
    return this.kube.apply(argusSessions, object, { fieldManager: "person", force: true });
  }

  session(name: string): Promise<ArgusSession | undefined> {
    return this.kube.get({ resource: argusSessions, namespace: NAMESPACE, name });
  }

  async pods(): Promise<Pod[]> {
    return (await this.kube.list<Pod>(pods, { namespace: NAMESPACE })).items;
  }

  /** The only pod, once there is one that is not going away. */
  pod(): Promise<Pod> {
    return eventually(
      "a pod",
      async () => {
        const [pod] = (await this.pods()).filter(({ metadata }) => !metadata.deletionTimestamp);
        return pod;
      },
      15_000,
    );
  }

  /** What a kubelet would report. */
  async report({ metadata }: Pod, status: PodStatus): Promise<void> {
    const path = `/api/v1/namespaces/${NAMESPACE}/pods/${metadata.name}/status`;
    const answer = await this.kube.request("PATCH", path, {
      body: { status: { ...status, ...wholeStatuses(status) } },
      contentType: "application/merge-patch+json",
    });
    const said = await answer.body.json();
    if (answer.status !== 200) throw new Error(JSON.stringify(said));
  }

  /** Ends a pod for good, as a kubelet does after the grace period. */
  async finish({ metadata }: Pod): Promise<void> {
    const path = `/api/v1/namespaces/${NAMESPACE}/pods/${metadata.name}`;
    const answer = await this.kube.request("DELETE", path, {
      body: { gracePeriodSeconds: 0, preconditions: { uid: metadata.uid } },
    });
    await answer.body.dump();
  }

  /** Waits until a condition of the session has this status (and reason). */
  condition(name: string, type: string, wanted: string): Promise<ArgusSession> {
    return eventually(
      `${name} has ${type} ${wanted}`,
      async () => {
        const session = await this.session(name);
        const found = session?.status?.conditions?.find((each) => each.type === type);
        return found && `${found.status} ${found.reason}`.startsWith(wanted) && session;
      },
      15_000,
    );
  }
}

/** With the fields that the API server demands of each container's status. */
function wholeStatuses({ containerStatuses }: PodStatus): object {
  const image = { image: "argus:test", imageID: "sha256:0", ready: false, restartCount: 0 };
  return containerStatuses
    ? { containerStatuses: containerStatuses.map((each) => ({ ...image, ...each })) }
    : {};
}

/** A running and ready agent. */
export function readyStatus(podIP = "127.0.0.1"): PodStatus {
  const startedAt = "2030-01-01T00:00:00Z";
  return {
    phase: "Running",
    podIP,
    podIPs: [{ ip: podIP }],
    conditions: [
      { type: "PodScheduled", status: "True" },
      { type: "Ready", status: "True" },
    ],
    containerStatuses: [{ name: "agent", ready: true, state: { running: { startedAt } } }],
  };
}

async function* noLogs(): AsyncGenerator<Buffer> {}
