import type { Pod } from "#cluster/core-types.ts";
import { collectionPath, pods } from "#cluster/resources.ts";
import type { KubeClient } from "#cluster/types.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";

/** What kubelets admit as a pod's own limit. */
const LEAST = 128;
const MOST = 16_384;
/** Reaper and bridge come on top of the agent's processes. */
export const OWN_PIDS = 16;

/** `resources.limits.pids` for a session with that many processes. */
export function pidLimitOf(pids: number): string {
  return String(Math.min(MOST, Math.max(LEAST, pids + OWN_PIDS)));
}

/**
 * Whether this API server takes `pids` among a container's limits: asked by a dry run, because a server without the feature refuses
 * the whole pod. Anything but a clear yes is a no.
 */
export async function takesPidLimits(
  kube: KubeClient,
  { namespace, sample, logger }: { namespace: string; sample: Pod; logger: Logger },
): Promise<boolean> {
  const [agent, ...others] = sample.spec.containers;
  if (!agent) return false;
  const limits = { ...agent.resources?.limits, pids: pidLimitOf(0) };
  const container = { ...agent, resources: { ...agent.resources, limits } };
  const body = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { generateName: "argus-asks-", namespace },
    spec: { ...sample.spec, containers: [container, ...others] },
  };
  try {
    const path = collectionPath(pods, namespace);
    const answer = await kube.request("POST", path, { body, query: { dryRun: "All" } });
    const made = (await answer.body.json()) as Pod;
    // A server that drops what it does not know has not taken it.
    return answer.status === 201 && "pids" in (made.spec.containers[0]?.resources?.limits ?? {});
  } catch (error) {
    logger.debug(
      { error: errorMessage(error) },
      "not known whether pods take a limit of processes",
    );
    return false;
  }
}
