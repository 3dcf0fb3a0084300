import { isAlreadyExists } from "#cluster/kube-error.ts";
import {
  argusSessions,
  customResourceDefinitions as crdResource,
  namespaces,
  serviceAccounts,
} from "#cluster/resources.ts";
import type { KubeClient, KubeObject, Resource } from "#cluster/types.ts";
import type { ArgusSessionSpecInput } from "#crds/argus-session.ts";
import { API_VERSION, type ArgusSession, customResourceDefinitions } from "#crds/kinds.ts";
import { POD } from "#protocol/pod.ts";

const FIELD_MANAGER = "argus-up";
export const NAMESPACE = "default";
export const MAIN = "main";
export const ECHO_COMMAND = ["argus", "echo"];

/** What runs in the session `main`. */
export type MainRuntime = "codex" | "echo" | "other";

export const echoSpec: ArgusSessionSpecInput = { runtime: { command: ECHO_COMMAND } };

/** Definitions, namespace and the sessions' service account: the same at every start. */
export async function applyFoundation(kube: KubeClient): Promise<void> {
  const apply = (resource: Resource, object: KubeObject) =>
    kube.apply(resource, object, { fieldManager: FIELD_MANAGER, force: true });
  for (const definition of customResourceDefinitions()) {
    await apply(crdResource, definition as unknown as KubeObject);
  }
  await apply(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } });
  await apply(serviceAccounts, {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: POD.serviceAccount, namespace: NAMESPACE },
  });
}

/** Makes the session `main` when there is none; one that is there stays as its owner left it. */
export async function ensureMain(
  kube: KubeClient,
  runtime: "codex" | "echo",
): Promise<{ created: boolean; runtime: MainRuntime }> {
  const ref = { resource: argusSessions, namespace: NAMESPACE, name: MAIN };
  const old = await kube.get<ArgusSession>(ref);
  if (old) return { created: false, runtime: runtimeOf(old) };
  const session: KubeObject & { spec: ArgusSessionSpecInput } = {
    apiVersion: API_VERSION,
    kind: "ArgusSession",
    metadata: { name: MAIN, namespace: NAMESPACE },
    spec: runtime === "echo" ? echoSpec : {},
  };
  try {
    await kube.create(argusSessions, session);
  } catch (error) {
    // The gateway makes it too, on a client's first use.
    if (!isAlreadyExists(error)) throw error;
  }
  return { created: true, runtime };
}

export function runtimeOf({ spec }: Pick<ArgusSession, "spec">): MainRuntime {
  const command = spec.runtime?.command;
  if (!command || command.length === 0) return "codex";
  return command[0] === "argus" && command[1] === "echo" ? "echo" : "other";
}
