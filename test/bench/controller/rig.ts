import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createKubeClient } from "#cluster/client.ts";
import { argusSessions, objectPath, serviceAccounts } from "#cluster/resources.ts";
import type { KubeClient, KubeObject } from "#cluster/types.ts";
import type { ArgusSessionSpecInput } from "#crds/argus-session.ts";
import { silentLogger } from "#lib/logger.ts";
import { kubeconfigYaml } from "#localcluster/kubeconfig.ts";
import { type AuditEntry, isWrite, readAudit } from "../../cluster/audit.ts";
import type { ApiPeer } from "../../support/api-peer.ts";
import { ControllerProcess } from "../../support/controller-process.ts";
import { freshNamespace } from "../../support/namespaces.ts";

const ACCOUNT = "argus-controller";
/** Nobody's state, or made once for a namespace. */
const NOT_COUNTED = ["leases", "events", "serviceaccounts", "networkpolicies"];

/** One real API server, the bundled controller, and room for both. */
export class Rig {
  readonly peer: ApiPeer;
  readonly bundle: string;
  readonly kube: KubeClient;
  readonly folder: string;

  constructor(made: { peer: ApiPeer; bundle: string; kube: KubeClient; folder: string }) {
    this.peer = made.peer;
    this.bundle = made.bundle;
    this.kube = made.kube;
    this.folder = made.folder;
  }

  static async start(made: { peer: ApiPeer; bundle: string; folder: string }): Promise<Rig> {
    const { kubeconfig } = made.peer;
    const kube = await createKubeClient({ kubeconfig, logger: silentLogger() });
    return new Rig({ ...made, kube });
  }

  namespace(prefix: string): Promise<string> {
    return freshNamespace(this.kube, prefix);
  }

  /** A controller that works in this namespace as a service account of its own, so that the audit log tells it apart. */
  async controller(
    namespace: string,
    { environment }: { environment?: Record<string, string> } = {},
  ): Promise<ControllerProcess> {
    const kubeconfig = await this.#account(namespace);
    const { bundle } = this;
    const made = { bundle, kubeconfig, namespace, identity: "replica" };
    const controller = new ControllerProcess({ ...made, ...(environment && { environment }) });
    await controller.logged("works");
    return controller;
  }

  create(namespace: string, name: string, spec: ArgusSessionSpecInput = {}): Promise<KubeObject> {
    const metadata = { name, namespace };
    const object = { apiVersion: "argus.dev/v1alpha1", kind: "ArgusSession", metadata, spec };
    return this.kube.create(argusSessions, object);
  }

  /** Makes many, some at once. */
  async createMany(namespace: string, names: readonly string[]): Promise<void> {
    const left = [...names];
    const work = async () => {
      for (let name = left.shift(); name; name = left.shift()) await this.create(namespace, name);
    };
    await Promise.all(Array.from({ length: 16 }, work));
  }

  /** Position in the audit log from which `audited` can read on. */
  async auditMark(): Promise<number> {
    return (await readAudit(this.#auditLog())).bytes;
  }

  async audited(from: number): Promise<AuditEntry[]> {
    return (await readAudit(this.#auditLog(), from)).entries;
  }

  /** What the controller of a namespace wrote since then. */
  async writes(namespace: string, from: number): Promise<AuditEntry[]> {
    const username = `system:serviceaccount:${namespace}:${ACCOUNT}`;
    const entries = await this.audited(from);
    return entries.filter(
      (entry) =>
        entry.user.username === username &&
        isWrite(entry) &&
        !NOT_COUNTED.includes(entry.objectRef?.resource ?? ""),
    );
  }

  async close(): Promise<void> {
    await this.kube.close();
    await this.peer.close();
  }

  #auditLog(): string {
    if (!this.peer.auditLog) throw new Error("this API server writes no audit log");
    return this.peer.auditLog;
  }

  async #account(namespace: string): Promise<string> {
    const path = join(this.folder, `${namespace}.kubeconfig`);
    const metadata = { name: ACCOUNT, namespace };
    const manager = { fieldManager: "bench", force: true };
    const account = { apiVersion: "v1", kind: "ServiceAccount", metadata } as KubeObject;
    await this.kube.apply(serviceAccounts, account, manager);
    await this.kube.apply(BINDINGS, bindingOf(namespace), manager);
    const tokenPath = `${objectPath(serviceAccounts, namespace, ACCOUNT)}/token`;
    const answer = await this.kube.request("POST", tokenPath, {
      body: { spec: { expirationSeconds: 7200 } },
    });
    const { status } = (await answer.body.json()) as { status: { token: string } };
    const { server, caPem } = this.peer;
    const access = { server, caPem, token: status.token, user: ACCOUNT, namespace };
    await writeFile(path, kubeconfigYaml(access), { mode: 0o600 });
    return path;
  }
}

const BINDINGS = {
  group: "rbac.authorization.k8s.io",
  version: "v1",
  plural: "clusterrolebindings",
  kind: "ClusterRoleBinding",
};

function bindingOf(namespace: string): KubeObject {
  return {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name: `argus-bench-${namespace}` },
    roleRef: { apiGroup: BINDINGS.group, kind: "ClusterRole", name: "cluster-admin" },
    subjects: [{ kind: "ServiceAccount", name: ACCOUNT, namespace }],
  } as KubeObject;
}

export const names = (prefix: string, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}-${index}`);
