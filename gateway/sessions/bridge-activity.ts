import { z } from "zod";
import type { ArgusSession } from "#crds/kinds.ts";
import { dialBridge } from "../dial.ts";
import type { Directory } from "../directory.ts";
import type { KeyRing } from "../key-ring.ts";
import { LanePeer } from "../lanes/lane-peer.ts";
import { bridgeAddress } from "../pod.ts";
import type { PodTokens } from "../pod-tokens.ts";

const Activity = z.looseObject({ isUnused: z.boolean() });
const ASK_MS = 10_000;

export interface Bridges {
  directory: Directory;
  keys: KeyRing;
  podTokens: PodTokens;
}

/**
 * Whether a turn, an approval or a command runs in the session's pod, by its bridge's word. Without a pod nothing does.
 * Throws when the bridge cannot be asked: nobody knows then.
 */
export async function isBridgeUsed(
  { directory, keys, podTokens }: Bridges,
  session: ArgusSession,
  signal: AbortSignal,
): Promise<boolean> {
  const pod = directory.podOf(session);
  const address = pod && bridgeAddress(pod);
  if (!pod || pod.metadata.deletionTimestamp || !address) return false;
  const late = AbortSignal.any([signal, AbortSignal.timeout(ASK_MS)]);
  const bridge = await dialBridge({ address, role: "lane", keys, podTokens }, late);
  const peer = new LanePeer(bridge, { onTurnEnd: () => {} });
  const close = () => peer.close();
  late.addEventListener("abort", close, { once: true });
  try {
    return !Activity.parse(await peer.request("bridge/activity", {})).isUnused;
  } finally {
    late.removeEventListener("abort", close);
    peer.close();
  }
}
