import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server, request as send } from "node:http";
import type { AddressInfo } from "node:net";
import { CompactSign, type CryptoKey, exportSPKI, generateKeyPair } from "jose";
import { buildClaims } from "#controller/session/claims.ts";
import { buildPod, podName } from "#controller/session/pod.ts";
import { ArgusSessionSpec, type ArgusSessionSpecInput } from "#crds/argus-session.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { BridgeStatus } from "#protocol/bridge.ts";
import { POD } from "#protocol/pod.ts";
import { BridgePeer } from "#test/support/bridge-peer.ts";
import { eventually } from "#test/support/eventually.ts";
import { kubectl } from "#test/support/kubectl.ts";
import type { Cluster } from "../../cluster/cluster.ts";
import { ADDRESSES } from "../../cluster/node-files.ts";
import { type FakeModel, startFakeModel } from "../../fakes/model.ts";

/** The key that pods must never hold: only the one that stands for the gateway has it. */
export const MODEL_KEY = `canary-${randomUUID()}`;

/** Session pods as the controller writes them, in a restricted namespace of their own; a proxy stands for the gateway. */
export class SessionPods {
  readonly model: FakeModel;
  readonly namespace: string;
  readonly #cluster: Cluster;
  readonly #image: string;
  readonly #key: CryptoKey;
  readonly #gateway: Server;

  private constructor(parts: {
    cluster: Cluster;
    image: string;
    namespace: string;
    model: FakeModel;
    key: CryptoKey;
    gateway: Server;
  }) {
    this.#cluster = parts.cluster;
    this.#image = parts.image;
    this.namespace = parts.namespace;
    this.model = parts.model;
    this.#key = parts.key;
    this.#gateway = parts.gateway;
  }

  static async start(cluster: Cluster, image: string): Promise<SessionPods> {
    const { publicKey, privateKey } = await generateKeyPair("EdDSA", { extractable: true });
    const model = await startFakeModel({ requireKey: MODEL_KEY });
    const gateway = modelProxy(model.url);
    gateway.listen(0, ADDRESSES.HOST_ADDRESS);
    await once(gateway, "listening");
    const namespace = `pods-${randomUUID().slice(0, 6)}`;
    const pods = new SessionPods({ cluster, image, namespace, model, key: privateKey, gateway });
    const enforce = { "pod-security.kubernetes.io/enforce": "restricted" };
    const named = (name: string) => ({ name, namespace });
    await pods.apply(
      { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace, labels: enforce } },
      { apiVersion: "v1", kind: "ServiceAccount", metadata: named(POD.serviceAccount) },
      {
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: named(POD.keysConfigMap),
        data: { k1: await exportSPKI(publicKey) },
      },
    );
    return pods;
  }

  async stop(): Promise<void> {
    await this.k(["delete", "namespace", this.namespace, "--wait", "--timeout=90s"]);
    this.#gateway.close();
    this.#gateway.closeAllConnections();
    await this.model.close();
  }

  /** Runs kubectl in the namespace; throws what it says when it fails. */
  async k(args: string[], input?: object): Promise<string> {
    const options = { timeoutMs: 120_000, ...(input && { input: JSON.stringify(input) }) };
    const words = ["-n", this.namespace, ...args];
    const { code, stdout, stderr } = await kubectl(this.#cluster.kubeconfig, words, options);
    if (code !== 0) throw new Error(`kubectl ${args.join(" ")}: ${stderr}`);
    return stdout;
  }

  async apply(...objects: object[]): Promise<void> {
    await this.k(["apply", "-f", "-"], { apiVersion: "v1", kind: "List", items: objects });
  }

  /** The pod that the controller would make for such a session, ready. */
  async create(name: string, uid: number, spec: ArgusSessionSpecInput): Promise<SessionPod> {
    const session: ArgusSession = {
      apiVersion: "argus.dev/v1alpha1",
      kind: "ArgusSession",
      metadata: { name, namespace: this.namespace, uid: randomUUID() },
      spec: ArgusSessionSpec.parse(spec),
    };
    const { port } = this.#gateway.address() as AddressInfo;
    const settings = {
      defaultImage: this.#image,
      gatewayUrl: `http://${ADDRESSES.HOST_ADDRESS}:${port}`,
      model: "fake-model",
    };
    const pod = buildPod(session, uid, settings);
    // Their owner is not in this cluster.
    const orphan = { ...pod, metadata: { ...pod.metadata, ownerReferences: [] } };
    await this.apply(...buildClaims(session), orphan);
    await this.k(["wait", "--for=condition=Ready", `pod/${podName(session)}`, "--timeout=110s"]);
    const read = await this.k(["get", "pod", podName(session), "-o", "json"]);
    const { metadata, status } = JSON.parse(read) as {
      metadata: { uid: string };
      status: { podIP: string };
    };
    return new SessionPod(this, {
      name: podName(session),
      uid: metadata.uid,
      ip: status.podIP,
      key: this.#key,
    });
  }
}

/** Adds the key to what pods ask the model, as the gateway does. */
function modelProxy(model: string): Server {
  return createServer((incoming, response) => {
    const path = (incoming.url ?? "").replace(/^\/openai/, "");
    const headers = { ...incoming.headers, authorization: `Bearer ${MODEL_KEY}` };
    const target = new URL(path, model);
    const { method } = incoming;
    const sent = send(target, { method, headers: { ...headers, host: target.host } }, (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
    });
    sent.on("error", () => response.destroy());
    response.on("close", () => sent.destroy());
    incoming.pipe(sent);
  });
}

export class SessionPod {
  readonly name: string;
  readonly #pods: SessionPods;
  readonly #uid: string;
  readonly #ip: string;
  readonly #key: CryptoKey;

  constructor(
    pods: SessionPods,
    { name, uid, ip, key }: { name: string; uid: string; ip: string; key: CryptoKey },
  ) {
    this.name = name;
    this.#pods = pods;
    this.#uid = uid;
    this.#ip = ip;
    this.#key = key;
  }

  /** A connection with an accepted hello. */
  async join(): Promise<BridgePeer> {
    const peer = new BridgePeer(this.#ip, POD.ports.bridge.number);
    const iat = Math.floor(Date.now() / 1000);
    const own = { epoch: 1, role: "client", jti: randomUUID() };
    const claims = { aud: this.#uid, iat, exp: iat + 60, ...own };
    const token = await new CompactSign(Buffer.from(JSON.stringify(claims)))
      .setProtectedHeader({ alg: "EdDSA", kid: "k1" })
      .sign(this.#key);
    await peer.request("bridge/hello", { token, role: "client" });
    return peer;
  }

  get(path: string): Promise<Response> {
    return fetch(`http://${this.#ip}:${POD.ports.probe.number}${path}`);
  }

  async status(): Promise<BridgeStatus> {
    return BridgeStatus.parse(await (await this.get("/status")).json());
  }

  sh(script: string): Promise<string> {
    return this.#pods.k(["exec", this.name, "--", "sh", "-c", script]);
  }

  /** Of the agent's container. */
  async containerStatus(): Promise<{
    restartCount: number;
    lastState?: { terminated?: { reason?: string } };
  }> {
    const path = "jsonpath={.status.containerStatuses[0]}";
    return JSON.parse(await this.#pods.k(["get", "pod", this.name, "-o", path]));
  }

  /** Answer times of the probe in ms, sorted, until `done`. */
  async probe(done: () => Promise<boolean> | boolean): Promise<number[]> {
    const times: number[] = [];
    await eventually(
      "the last probe",
      async () => {
        const asked = performance.now();
        await (await this.get("/readyz")).text();
        times.push(performance.now() - asked);
        return done();
      },
      180_000,
    );
    return times.sort((a, b) => a - b);
  }
}
