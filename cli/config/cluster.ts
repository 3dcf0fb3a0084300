import { existsSync, readFileSync } from "node:fs";
import { z } from "zod";

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
  ARGUS_NAMESPACE: z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/, "give a Kubernetes namespace")
    .default(() => ownNamespace())
    .meta({ description: "Namespace of the sessions; the pod's own, else default" }),
};
