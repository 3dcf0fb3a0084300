import { namespaces } from "#cluster/resources.ts";
import type { KubeClient } from "#cluster/types.ts";

let made = 0;

/** A namespace that nobody else uses. */
export async function freshNamespace(kube: KubeClient, prefix: string): Promise<string> {
  made += 1;
  const name = `${prefix}-${process.pid}-${made}`;
  await kube.create(namespaces, {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name },
  });
  return name;
}
