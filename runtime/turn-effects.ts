import { monotonicMs } from "#lib/clock.ts";
import type { Busy } from "./busy.ts";
import { parseAnswer } from "./caller.ts";
import type { Inputs } from "./inputs.ts";
import type { Peer } from "./peer.ts";
import { type Effects, outcomeOf } from "./request.ts";

export interface TurnRequest {
  threadId: string;
  /** The request made the thread busy. */
  claimed: boolean;
  /** In the ledger. */
  input?: string;
}

/** What the answer to a request that starts or joins a turn changes. */
export function turnEffects(
  { busy, inputs }: { busy: Busy<Peer>; inputs: Inputs },
  { threadId, claimed, input }: TurnRequest,
): Effects {
  return {
    answered: (line) => {
      const { result, error } = parseAnswer(line);
      const { turn, queued } = outcomeOf(result);
      if (claimed && error) busy.rejected(threadId);
      else if (claimed) busy.accepted(threadId, turn, monotonicMs());
      if (input === undefined) return true;
      if (error) inputs.neverStarted(input, error);
      else if (turn !== undefined) inputs.accepted(input, turn);
      else if (queued) inputs.queued(input, queued);
      return true;
    },
    failed: (error, forwarded) => {
      if (claimed) busy.rejected(threadId);
      if (input !== undefined && !forwarded) inputs.neverStarted(input, error);
    },
  };
}
