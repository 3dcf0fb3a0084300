import type { ArgusSession } from "#crds/kinds.ts";
import { isReady, type Pod } from "../pod.ts";
import type { Use } from "../sessions/use.ts";

const PREFIX = "runtime:";

/** Node id of the session's own pod. */
export const ownNodeId = ({ metadata }: ArgusSession) => `${PREFIX}${metadata.name}`;
export const isOwnNode = (nodeId: string) => nodeId.startsWith(PREFIX);

export const isUp = (pod: Pod | undefined) =>
  pod !== undefined && isReady(pod) && !pod.metadata.deletionTimestamp;

/**
 * Makes the session needed, so that its pod comes or stays: from then on its bridge says how long. Resolves when commands may
 * go there, or after `waitMs`. Returns the function that ends the wish.
 */
export async function needPod(use: Use, waitMs: number): Promise<() => void> {
  const leave = use.enter();
  if (use.isAllowed) return leave;
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(timer);
      unsubscribe();
      resolve();
    };
    const timer = setTimeout(done, waitMs).unref();
    const unsubscribe = use.whenAllowed(done);
  });
  return leave;
}
