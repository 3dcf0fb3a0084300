import type { Container, Pod } from "./pod.ts";
import { parseQuantity } from "./quantity.ts";

/** What the downward API of one pod answers besides the object itself. */
export interface PodFacts {
  podIp: string;
  hostIp: string;
  nodeName: string;
}

/** Value of a `fieldRef`; undefined for a path that is not supported. */
export function fieldValue(pod: Pod, facts: PodFacts, path: string): string | undefined {
  const { metadata, spec } = pod;
  const keyed = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path);
  if (keyed) return metadata[keyed[1] as "labels" | "annotations"]?.[keyed[2] ?? ""] ?? "";
  const values: Record<string, string> = {
    "metadata.name": metadata.name,
    "metadata.namespace": metadata.namespace ?? "",
    "metadata.uid": metadata.uid ?? "",
    "metadata.labels": lines(metadata.labels),
    "metadata.annotations": lines(metadata.annotations),
    "spec.nodeName": facts.nodeName,
    "spec.serviceAccountName": spec.serviceAccountName ?? "default",
    "status.podIP": facts.podIp,
    "status.podIPs": facts.podIp,
    "status.hostIP": facts.hostIp,
  };
  return values[path];
}

/** Value of a `resourceFieldRef` such as `limits.memory`, in bytes or whole cores. */
export function resourceValue(container: Container, path: string): string | undefined {
  const [list, name] = path.split(".");
  if ((list !== "limits" && list !== "requests") || !name) return undefined;
  const amount = parseQuantity(container.resources?.[list]?.[name]);
  return amount === undefined ? "0" : String(Math.ceil(amount));
}

function lines(map: Record<string, string> | undefined): string {
  return Object.entries(map ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join("\n");
}
