// An API server with one prepared session whose pod is the load's upstream, in a process of its own:
// nothing of it may count as the gateway's. Usage: cluster-process.ts FOLDER BRIDGE_PORT; prints one JSON line.
import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Agent, fetch } from "undici";
import { API_VERSION, customResourceDefinitions } from "#crds/kinds.ts";
import { silentLogger } from "#lib/logger.ts";
import { startApiServer } from "#localcluster/api-server.ts";
import { kubeconfigYaml } from "#localcluster/kubeconfig.ts";
import { GATEWAY_AUDIENCE, LABEL, POD } from "#protocol/pod.ts";

const NAMESPACE = "default";
const SESSION = "bench";
const POD_NAME = "argus-bench";

/** What the benchmark needs to start a gateway on it. */
export interface PreparedCluster {
  kubeconfig: string;
  namespace: string;
  session: string;
  /** Proves the load to be the pod. */
  podToken: string;
}

interface Created {
  metadata: { name: string; uid: string };
}

const [folder = "", bridgePort = ""] = process.argv.slice(2);
const stop = new AbortController();
process.on("SIGTERM", () => stop.abort());
const server = await startApiServer(
  {
    folder: join(folder, "cluster"),
    port: 0,
    logger: silentLogger(),
    logs: {
      async *read() {
        yield await Promise.resolve(Buffer.alloc(0));
      },
    },
  },
  stop.signal,
);
const base = `https://${server.host}:${server.port}`;
const dispatcher = new Agent({ connect: { ca: server.caPem } });

async function send<T>(method: string, path: string, body: unknown): Promise<T> {
  const patch = method === "PATCH";
  const response = await fetch(base + path, {
    method,
    dispatcher,
    body: JSON.stringify(body),
    headers: {
      authorization: `Bearer ${server.tokens.admin}`,
      "content-type": patch ? "application/merge-patch+json" : "application/json",
    },
  });
  const text = await response.text();
  if (!response.ok && response.status !== 409) throw new Error(`${method} ${path}: ${text}`);
  return JSON.parse(text) as T;
}

const core = (plural: string) => `/api/v1/namespaces/${NAMESPACE}/${plural}`;

async function prepareSession(): Promise<Created> {
  const account = {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: POD.serviceAccount },
  };
  await send("POST", core("serviceaccounts"), account);
  for (const crd of customResourceDefinitions()) {
    await send("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd);
  }
  const sessions = `/apis/${API_VERSION}/namespaces/${NAMESPACE}/argussessions`;
  const object = {
    apiVersion: API_VERSION,
    kind: "ArgusSession",
    metadata: { name: SESSION },
    spec: {},
  };
  return await send<Created>("POST", sessions, object);
}

async function preparePod({ metadata: { uid } }: Created): Promise<Created> {
  const owner = {
    apiVersion: API_VERSION,
    kind: "ArgusSession",
    name: SESSION,
    uid,
    controller: true,
  };
  const ports = [{ name: POD.ports.bridge.name, containerPort: Number(bridgePort) }];
  const pod = await send<Created>("POST", core("pods"), {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: POD_NAME, labels: { [LABEL.session]: SESSION }, ownerReferences: [owner] },
    spec: {
      serviceAccountName: POD.serviceAccount,
      containers: [{ name: POD.container, image: "bench", ports }],
    },
  });
  const now = new Date().toISOString();
  const ready = { type: "Ready", status: "True", lastTransitionTime: now };
  const status = { phase: "Running", podIP: "127.0.0.1", conditions: [ready] };
  await send("PATCH", `${core("pods")}/${POD_NAME}/status`, { status });
  return pod;
}

async function podToken({ metadata: { name, uid } }: Created): Promise<string> {
  const boundObjectRef = { apiVersion: "v1", kind: "Pod", name, uid };
  const { status } = await send<{ status: { token: string } }>(
    "POST",
    `${core("serviceaccounts")}/${POD.serviceAccount}/token`,
    {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      metadata: { name: randomUUID() },
      spec: { audiences: [GATEWAY_AUDIENCE], expirationSeconds: 24 * 3600, boundObjectRef },
    },
  );
  return status.token;
}

const pod = await preparePod(await prepareSession());
const kubeconfig = join(folder, "gateway.kubeconfig");
await writeFile(
  kubeconfig,
  kubeconfigYaml({
    server: base,
    caPem: server.caPem,
    token: server.tokens.gateway,
    user: "gateway",
    namespace: NAMESPACE,
  }),
);
const prepared: PreparedCluster = {
  kubeconfig,
  namespace: NAMESPACE,
  session: SESSION,
  podToken: await podToken(pod),
};
console.log(JSON.stringify(prepared));
await server.closed;
