import { startElection } from "#cluster/leader-election.ts";
import type { Fence } from "#cluster/types.ts";
import type { Running } from "#lib/running.ts";
import type { BotHealth } from "./health.ts";
import type { BotLease, BotOptions } from "./options.ts";

/** Runs until the signal aborts; the fence says until when Telegram may be talked to. */
export type Talking = (fence: Fence, signal: AbortSignal) => Promise<void>;

/**
 * Talks while this replica holds the Lease, again after each time that it was lost. `closed` rejects when `talk` fails by
 * itself.
 */
export function talkByLease(
  { lease, logger, health }: Pick<BotOptions, "logger"> & { lease: BotLease; health: BotHealth },
  talk: Talking,
  signal: AbortSignal,
): Running {
  const election = startElection(
    { ...lease, logger },
    async (term) => {
      health.begin();
      // A lost Lease and the end of the process are no failures.
      await talk(term.fence, term.signal).catch((error: unknown) => {
        if (!term.signal.aborted) throw error;
      });
    },
    signal,
  );
  health.follow(election);
  return election;
}
