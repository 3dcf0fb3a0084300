import type { z } from "zod";
import type { Pod, Terminated } from "#cluster/core-types.ts";
import { present } from "#cluster/objects.ts";
import type { LastTermination as Schema } from "#crds/argus-session.ts";
import { TerminationMessage } from "#protocol/bridge.ts";
import { agentStatus } from "./pod-state.ts";

export type LastTermination = z.infer<typeof Schema>;

const MAX_MESSAGE_LENGTH = 4096;

/** How the agent's container last ended, as the newest of what was known and what the pod says. */
export function lastTermination(
  pod: Pod | undefined,
  known: LastTermination | undefined,
): LastTermination | undefined {
  const status = pod && agentStatus(pod);
  const end = status?.state?.terminated ?? status?.lastState?.terminated;
  if (end) return isNewer(end, known) ? describe(end) : known;
  return (pod && eviction(pod)) ?? known;
}

/** An evicted pod has no container to ask. */
function eviction({ status }: Pod): LastTermination | undefined {
  if (status?.phase !== "Failed" || !status.reason) return undefined;
  const message = status.message?.slice(0, MAX_MESSAGE_LENGTH);
  return { ...present({ message }), reason: status.reason.slice(0, 128) };
}

function isNewer(end: Terminated, known: LastTermination | undefined): boolean {
  if (!known?.finishedAt) return true;
  return Date.parse(end.finishedAt ?? "") > Date.parse(known.finishedAt);
}

function describe(end: Terminated): LastTermination {
  const told = parse(end.message);
  const message = told?.message ?? end.message ?? "";
  return {
    ...present({
      exitCode: end.exitCode,
      signal: end.signal || undefined,
      oomKilled: isOutOfMemory(end) || undefined,
      pidLimitHit: told?.pidLimitHit || undefined,
      finishedAt: end.finishedAt,
      message: message.slice(0, MAX_MESSAGE_LENGTH) || undefined,
    }),
    reason: reasonOf(end, told).slice(0, 128),
  };
}

/** The kernel's kill is known to the kubelet alone. */
function reasonOf(end: Terminated, told: TerminationMessage | undefined): string {
  const said = isOutOfMemory(end) ? end.reason : (told?.reason ?? end.reason);
  return said ?? "Unknown";
}

function isOutOfMemory({ reason }: Terminated): boolean {
  return reason === "OOMKilled";
}

/** The bridge writes JSON; what the agent wrote instead is shown as it is. */
function parse(text: string | undefined): TerminationMessage | undefined {
  if (!text) return undefined;
  try {
    return TerminationMessage.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}
