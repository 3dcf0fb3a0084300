import type { Resources } from "#cluster/core-types.ts";
import { parseQuantity } from "./quantity.ts";

/** What a session gets that asks for nothing. Limits are always set, so that no session can starve its node. */
export const DEFAULT_RESOURCES = {
  requests: { cpu: "100m", memory: "256Mi", "ephemeral-storage": "256Mi" },
  limits: { cpu: "2", memory: "2Gi", "ephemeral-storage": "4Gi" },
} as const;

/** The wanted resources over the defaults; a default never contradicts what was wanted. */
export function resourcesWith(wanted: Resources | undefined): Required<Resources> {
  const { requests, limits } = DEFAULT_RESOURCES;
  const finalLimits: Record<string, string> = { ...limits, ...wanted?.limits };
  const finalRequests: Record<string, string> = { ...requests, ...wanted?.requests };
  for (const name of Object.keys(limits)) {
    const request = finalRequests[name] ?? "0";
    const limit = finalLimits[name] ?? "0";
    if (!isAbove(request, limit)) continue;
    // Whichever of the two is only a default gives way.
    if (wanted?.limits?.[name] === undefined) finalLimits[name] = request;
    else if (wanted.requests?.[name] === undefined) finalRequests[name] = limit;
  }
  return { requests: finalRequests, limits: finalLimits };
}

function isAbove(a: string, b: string): boolean {
  return (parseQuantity(a) ?? 0) > (parseQuantity(b) ?? 0);
}
