import type { EventRecorder } from "#cluster/events.ts";
import type { KubeClient } from "#cluster/types.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { ArgusError } from "#lib/errors.ts";
import type { Lanes } from "../lanes/lanes.ts";
import { isHeld, release } from "./finalizer.ts";
import { closed, forced } from "./goodbye.ts";

/** A document that could not be read may have been repaired. */
const LOOK_AGAIN_MS = 5_000;

interface Ending {
  kube: KubeClient;
  lanes: Lanes;
  events: EventRecorder;
  forget: (session: { uid: string; name: string }) => Promise<void>;
}

/**
 * Ends what is open in a deleted session, waits at most `leftMs` until its senders were told, and lets it go. Resolves to when it
 * should be looked at again, in milliseconds; undefined = when something changes.
 */
export async function endSession(
  session: ArgusSession,
  leftMs: number,
  { kube, lanes, events, forget }: Ending,
): Promise<number | undefined> {
  if (!isHeld(session)) return undefined;
  const { ended, open } = await shut(session, lanes);
  if (ended > 0) events.record(session, closed(ended));
  if (open !== 0 && leftMs > 0) {
    return open === "unreadable" ? Math.min(leftMs, LOOK_AGAIN_MS) : leftMs;
  }
  if (open !== 0) events.record(session, forced(open));
  const { name, uid = "" } = session.metadata;
  await lanes.end(uid);
  await forget({ uid, name });
  await release(kube, session);
  return undefined;
}

/** How many entries ended now, and how many deliveries are still on their way. */
async function shut(session: ArgusSession, lanes: Lanes) {
  try {
    return await lanes.shut(session);
  } catch (error) {
    const isUnreadable = error instanceof ArgusError && error.code === "Unavailable";
    if (!isUnreadable) throw error;
    return { ended: 0, open: "unreadable" } as const;
  }
}
