import { existsSync, readFileSync } from "node:fs";
import { z } from "zod";
import type { AccessOptions } from "#cluster/access.ts";
import { portNumber } from "../config.ts";

const NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/** Inside a cluster the pod's own namespace, else `default`. */
function ownNamespace(): string {
  return existsSync(NAMESPACE_FILE) ? readFileSync(NAMESPACE_FILE, "utf8").trim() : "default";
}

/** Variables of every process that talks to the Kubernetes API. */
export const clusterVariables = {
  KUBECONFIG: z.string().optional().meta({
    description: "How to reach the Kubernetes API; inside a cluster the pod's own account",
  }),
  KUBERNETES_SERVICE_HOST: z
    .string()
    .optional()
    .meta({ description: "Address of the API server; set by Kubernetes in every pod" }),
  KUBERNETES_SERVICE_PORT: portNumber(443).meta({
    description: "Port of the API server; set by Kubernetes in every pod",
  }),
  ARGUS_NAMESPACE: z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, "give a Kubernetes namespace")
    .default(() => ownNamespace())
    .meta({ description: "Namespace of the sessions; the pod's own, else default" }),
};

/** How a process reaches the API server by its settings. */
export function clusterAccess(set: {
  KUBECONFIG?: string | undefined;
  KUBERNETES_SERVICE_HOST?: string | undefined;
  KUBERNETES_SERVICE_PORT: number;
}): AccessOptions {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port } = set;
  return { kubeconfig: set.KUBECONFIG, apiServer: host ? { host, port } : undefined };
}
