import { backoffMs } from "#lib/clock.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { Lane } from "./lane.ts";
import type { Link } from "./lane-peer.ts";
import type { LaneWorld } from "./world.ts";

/** A client gives up after 120 s. */
export const MAX_REACH_MS = 100_000;
const RETRY = { baseMs: 250, maxMs: 5000 };

/**
 * Calls `use` with a connection of its own to the session's bridge, once its pod is there.
 * Throws `Timeout` with what was waited for, and what `use` throws.
 */
export async function withLink<T>(lane: Lane, use: (link: Link) => Promise<T>): Promise<T> {
  const { world } = lane;
  const late = AbortSignal.timeout(MAX_REACH_MS);
  const link = await reach(world, late);
  try {
    return await use(link);
  } finally {
    link.close();
  }
}

async function reach(world: LaneWorld, late: AbortSignal): Promise<Link> {
  for (let failures = 0; ; failures += 1) {
    // Subscribed before it is looked: a change in between is not missed.
    const changed = Promise.withResolvers<void>();
    const stop = world.watch(() => changed.resolve());
    const over = new AbortController();
    try {
      const found = await tried(world, late);
      if (!("waitsFor" in found)) return found;
      if (late.aborted) throw new ArgusError("Timeout", `${found.waitsFor} Try again later.`);
      const pause = world.clock.sleep(
        backoffMs(failures, RETRY),
        AbortSignal.any([late, over.signal]),
      );
      await Promise.race([changed.promise, pause.catch(() => {})]);
    } finally {
      over.abort();
      stop();
    }
  }
}

async function tried(world: LaneWorld, late: AbortSignal): Promise<Link | { waitsFor: string }> {
  try {
    return await world.reach({ onTurnEnd: () => {} }, late);
  } catch (error) {
    if (error instanceof ArgusError && error.code === "NotFound") throw error;
    return { waitsFor: errorMessage(error) };
  }
}
