import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { argusSessions, configMaps, pods } from "#cluster/resources.ts";
import type { KubeObject } from "#cluster/types.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { startGateway } from "#gateway/gateway.ts";
import type { GatewayOptions } from "#gateway/options.ts";
import { openFileStore } from "#gateway/store/file.ts";
import { silentLogger } from "#lib/logger.ts";
import type { Listening } from "#lib/running.ts";
import { POD } from "#protocol/pod.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import { FakeBridge, type FakeBridgeOptions, type FakePeer } from "#test/fakes/bridge.ts";
import { FakeKube } from "#test/fakes/kube.ts";

export const NAMESPACE = "default";
export const ADMIN = "admin-token-of-the-tests";
const POD_USER = `system:serviceaccount:${NAMESPACE}:${POD.serviceAccount}`;

/** Something that looks like a projected token for the gateway; TokenReview decides. */
export function podToken(name: string, expiresInSeconds = 3600): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const exp = Math.floor(Date.now() / 1000) + expiresInSeconds;
  return `${part({ alg: "RS256" })}.${part({ aud: ["argus-gateway"], exp, name })}.c2ln`;
}

/** A gateway over an API in memory, with bridges of the test's own. */
export class GatewayRig {
  readonly kube = new FakeKube();
  readonly #folder: string;
  readonly #bridges: FakeBridge[] = [];
  #stop = new AbortController();
  gateway: Listening | undefined;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async start(options: Partial<GatewayOptions> = {}): Promise<GatewayRig> {
    const rig = new GatewayRig(await mkdtemp(join(tmpdir(), "argus-gateway-")));
    await rig.startGateway(options);
    return rig;
  }

  get url(): string {
    return `http://127.0.0.1:${this.gateway?.port}`;
  }

  async startGateway(options: Partial<GatewayOptions> = {}): Promise<void> {
    this.#stop = new AbortController();
    this.gateway = await startGateway(
      {
        host: "127.0.0.1",
        port: 0,
        namespace: NAMESPACE,
        stateFolder: this.#folder,
        adminToken: ADMIN,
        kube: this.kube,
        model: { upstream: "" },
        sessionTemplate: {},
        logger: silentLogger(),
        ...options,
      },
      this.#stop.signal,
    );
  }

  async stopGateway(): Promise<void> {
    this.#stop.abort(new Error("stopped by SIGTERM"));
    await this.gateway?.closed;
  }

  /** Writes documents of sessions, by UID, while the gateway is stopped. */
  async seed(documents: Map<string, SessionDocument>): Promise<void> {
    const options = { folder: this.#folder, onHeld: () => undefined };
    const store = await openFileStore(options, new AbortController().signal);
    const commits = [...documents].map(async ([uid, body]) =>
      store.commit(uid, (await store.read(uid))?.version ?? 0, body),
    );
    await Promise.all(commits);
    await store.close();
  }

  async stop(): Promise<void> {
    await this.stopGateway();
    for (const bridge of this.#bridges) await bridge.stop();
    await rm(this.#folder, { recursive: true });
  }

  keys = (): Record<string, string> => {
    const path = `/api/v1/namespaces/${NAMESPACE}/${configMaps.plural}/${POD.keysConfigMap}`;
    return (
      (this.kube.objects.get(path) as { data?: Record<string, string> } | undefined)?.data ?? {}
    );
  };

  putSession(name: string, change: { spec?: object; status?: object } = {}): ArgusSession {
    return this.kube.put(argusSessions, {
      metadata: { name, namespace: NAMESPACE },
      spec: { operatingMode: "Running", tokenGeneration: 0, ...change.spec },
      ...(change.status ? { status: change.status } : {}),
    } as unknown as ArgusSession);
  }

  session(name: string): ArgusSession | undefined {
    const path = `/apis/argus.dev/v1alpha1/namespaces/${NAMESPACE}/argussessions/${name}`;
    return this.kube.objects.get(path) as unknown as ArgusSession | undefined;
  }

  deleteSession(name: string): Promise<void> {
    return this.kube.delete({ resource: argusSessions, namespace: NAMESPACE, name });
  }

  /** A ready pod of the session whose bridge is a fake of this test. */
  async putPod(
    name: string,
    onPeer: (peer: FakePeer) => void = () => {},
    refuse?: FakeBridgeOptions["refuse"],
  ): Promise<{ bridge: FakeBridge; podUid: string; token: string }> {
    const podUid = `uid-of-${name}`;
    const token = podToken(name);
    this.kube.tokens.set(token, { podUid, user: POD_USER });
    const keys = this.keys;
    const bridge = await FakeBridge.start({
      podUid,
      podToken: token,
      keys,
      onPeer,
      ...(refuse ? { refuse } : {}),
    });
    this.#bridges.push(bridge);
    this.#writePod(name, podUid, bridge.port);
    return { bridge, podUid, token };
  }

  deletePod(name: string): Promise<void> {
    return this.kube.delete({ resource: pods, namespace: NAMESPACE, name: `pod-${name}` });
  }

  #writePod(name: string, uid: string, port: number): void {
    const owner = {
      apiVersion: "argus.dev/v1alpha1",
      kind: "ArgusSession",
      name,
      uid: this.session(name)?.metadata.uid ?? "",
      controller: true,
    };
    this.kube.put(pods, {
      metadata: {
        name: `pod-${name}`,
        namespace: NAMESPACE,
        uid,
        labels: { "argus.dev/session": name },
        ownerReferences: [owner],
      },
      spec: { containers: [{ name: "agent", ports: [{ name: "bridge", containerPort: port }] }] },
      status: {
        phase: "Running",
        podIP: "127.0.0.1",
        conditions: [{ type: "Ready", status: "True" }],
      },
    } as KubeObject);
  }
}
