import { createHash } from "node:crypto";
import { isIP } from "node:net";
import { isDeepStrictEqual } from "node:util";
import type { Pod } from "#cluster/core-types.ts";
import { ArgusSessionSpec } from "#crds/argus-session.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { LABEL } from "#protocol/pod.ts";
import { isMap } from "./merge.ts";

const DEFAULTS = ArgusSessionSpec.parse({});

/**
 * Hash of what people wrote that shapes the pod: a pod with another hash is replaced. The installation's own values
 * are left out, so that upgrading Argus restarts no session, and so is whatever equals its default, so that a field
 * that a later version adds changes no hash. But a pod that knows the gateway by an address that is no longer its own
 * would wait for its model for ever; a name is looked up anew.
 */
export function specHash(
  { spec, metadata }: Pick<ArgusSession, "spec" | "metadata">,
  gatewayUrl: string,
): string {
  const { runtime, resources, limits, approvals, podTemplate, idle } = spec;
  const park = idle.parkAfterSeconds;
  const shape = { runtime, resources, limits, approvals, podTemplate, park };
  const usual = { ...DEFAULTS, podTemplate: undefined, park: DEFAULTS.idle.parkAfterSeconds };
  const address = isIP(new URL(gatewayUrl).hostname.replace(/^\[|\]$/g, ""))
    ? gatewayUrl
    : undefined;
  const restartAt = metadata.annotations?.[LABEL.restartAt];
  return hashOf({ ...(withoutDefaults(shape, usual) as object), address, restartAt });
}

/** Hash of the whole pod, with all that the installation and this version of Argus put into it. */
export function podHash({ metadata, spec }: Pod): string {
  const { [LABEL.podHash]: _, ...annotations } = metadata.annotations ?? {};
  // What may change while the pod runs is no reason for another one.
  const { [LABEL.network]: _1, [LABEL.egress]: _2, ...labels } = metadata.labels ?? {};
  return hashOf({ labels, annotations, spec });
}

function hashOf(value: unknown): string {
  return createHash("sha256")
    .update(JSON.stringify(sorted(value)))
    .digest("hex")
    .slice(0, 16);
}

function withoutDefaults(value: unknown, usual: unknown): unknown {
  if (!isMap(value) || !isMap(usual)) return value;
  const entries = Object.entries(value)
    .filter(([key, inner]) => !isDeepStrictEqual(inner, usual[key]))
    .map(([key, inner]) => [key, withoutDefaults(inner, usual[key])]);
  return Object.fromEntries(entries);
}

/** The same value with all keys in order: two equal specs have equal text. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isMap(value)) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]));
}
