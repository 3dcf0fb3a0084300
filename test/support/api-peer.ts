import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createKubeClient } from "#cluster/client.ts";
import { customResourceDefinitions } from "#cluster/resources.ts";
import type { KubeClient, KubeObject } from "#cluster/types.ts";
import { customResourceDefinitions as crds } from "#crds/kinds.ts";
import { silentLogger } from "#lib/logger.ts";
import { startApiServer } from "#localcluster/api-server.ts";
import { kubeconfigYaml } from "#localcluster/kubeconfig.ts";
import { whyNoControlPlane } from "../cluster/binaries.ts";
import { startControlPlane } from "../cluster/control-plane.ts";
import { eventually } from "./eventually.ts";

/** An API server that Argus' own kinds are installed on. */
export interface ApiPeer {
  name: "local" | "real";
  server: string;
  caPem: string;
  /** Of a user who may do everything. */
  token: string;
  /** Path of a kubeconfig for the same user. */
  kubeconfig: string;
  /** JSON lines, where the server writes one. */
  auditLog?: string;
  close(): Promise<void>;
}

/** A real one where this machine has it, else Argus' own; says which. */
export async function startPeer(): Promise<ApiPeer> {
  const reason = whyNoControlPlane();
  console.info(reason ? `on the local API server: ${reason}` : "on a real kube-apiserver");
  return reason ? await startLocalPeer() : await startRealPeer();
}

/** A real kube-apiserver and kube-controller-manager on a real etcd, without a node. */
export async function startRealPeer(apiServerArgs: string[] = []): Promise<ApiPeer> {
  const plane = await startControlPlane({ controllerManager: false, apiServerArgs });
  const { server, caPem, token, auditLog } = plane;
  try {
    // The garbage collector looks for new kinds every 30 s only, so it starts when ours are there.
    await installKinds(plane.kubeconfig());
    await plane.controllerManager.start();
  } catch (error) {
    await plane.close();
    throw error;
  }
  const kubeconfig = plane.kubeconfig();
  return { name: "real", server, caPem, token, kubeconfig, auditLog, close: () => plane.close() };
}

/** Argus' own API server. */
export async function startLocalPeer(): Promise<ApiPeer> {
  const folder = await mkdtemp(join(tmpdir(), "argus-peer-"));
  const stop = new AbortController();
  const logs = { read: () => noLogs() };
  const options = { folder: join(folder, "server"), port: 0, logger: silentLogger(), logs };
  const api = await startApiServer(options, stop.signal);
  const server = `https://${api.host}:${api.port}`;
  const access = { server, caPem: api.caPem, token: api.tokens.admin };
  const kubeconfig = join(folder, "kubeconfig");
  await writeFile(kubeconfig, kubeconfigYaml({ ...access, user: "admin", namespace: "default" }));
  await installKinds(kubeconfig);
  const close = async () => {
    stop.abort();
    await api.closed;
    await rm(folder, { recursive: true });
  };
  return { name: "local", ...access, kubeconfig, close };
}

async function installKinds(kubeconfig: string): Promise<void> {
  const kube = await createKubeClient({ kubeconfig, logger: silentLogger() });
  try {
    const manager = { fieldManager: "test", force: true };
    for (const crd of crds() as unknown as KubeObject[]) {
      await kube.apply(customResourceDefinitions, crd, manager);
    }
    for (const crd of crds() as unknown as KubeObject[]) {
      await eventually(`${crd.metadata.name} is served`, () => isServed(kube, crd));
    }
  } finally {
    await kube.close();
  }
}

async function isServed(kube: KubeClient, crd: KubeObject): Promise<boolean> {
  const [plural, ...group] = crd.metadata.name.split(".");
  const answer = await kube.request("GET", `/apis/${group.join(".")}/v1alpha1/${plural}`);
  await answer.body.dump();
  return answer.status === 200;
}

async function* noLogs(): AsyncGenerator<Buffer> {}
