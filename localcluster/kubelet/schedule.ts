import { objectPath, pods } from "#cluster/resources.ts";
import type { KubeletContext } from "./context.ts";
import { MAX_PODS, NODE_NAME } from "./node.ts";
import type { Pod } from "./pod.ts";

/** What keeps a pod from this node; undefined = nothing. */
export function whyNot(
  { metadata, spec }: Pod,
  { claims, pods }: Pick<KubeletContext, "claims" | "pods">,
): string | undefined {
  const missing = (spec.volumes ?? [])
    .flatMap(({ persistentVolumeClaim: claim }) => (claim ? [claim.claimName] : []))
    .find((name) => !claims.get(`${metadata.namespace ?? "default"}/${name}`));
  if (missing) return `persistentvolumeclaim "${missing}" not found`;
  const here = pods
    .list()
    .filter(({ spec, status }) => spec.nodeName && !/Succeeded|Failed/.test(status?.phase ?? ""));
  return here.length < MAX_PODS ? undefined : `Too many pods: ${MAX_PODS} run on this machine`;
}

/** Names this node in the pod, as a scheduler does. */
export async function bindPod({ kube }: KubeletContext, { metadata }: Pod): Promise<void> {
  const { name, namespace = "default", uid } = metadata;
  const body = {
    apiVersion: "v1",
    kind: "Binding",
    metadata: { name, namespace, uid },
    target: { apiVersion: "v1", kind: "Node", name: NODE_NAME },
  };
  const path = `${objectPath(pods, namespace, name)}/binding`;
  await (await kube.request("POST", path, { body })).body.dump();
}
