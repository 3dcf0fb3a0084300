import { createHash } from "node:crypto";
import type { ArgusSession } from "#crds/kinds.ts";
import { isMap } from "./merge.ts";

/**
 * Hash of what people wrote that shapes the pod: a pod with another hash is replaced. The installation's own values
 * are left out, so that upgrading Argus restarts no session; but a pod that knows an address where the gateway is no
 * more would wait for its model for ever.
 */
export function specHash({ spec }: Pick<ArgusSession, "spec">, gatewayUrl: string): string {
  const { runtime, resources, limits, approvals, podTemplate, idle } = spec;
  const park = idle.parkAfterSeconds;
  const visible = sorted({ runtime, resources, limits, approvals, podTemplate, park, gatewayUrl });
  return createHash("sha256").update(JSON.stringify(visible)).digest("hex").slice(0, 16);
}

/** The same value with all keys in order: two equal specs have equal text. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isMap(value)) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]));
}
