import { z } from "zod";
import type { EndedInput, LaneInput } from "#protocol/session-document.ts";
import { type LanePeer, Refused, Turn } from "./lane-peer.ts";

const Started = z.looseObject({ turn: Turn });
const ThreadStarted = z.looseObject({ thread: z.looseObject({ id: z.string() }) });

/** What became of a message's turn. */
export interface TurnEnd {
  state: EndedInput["state"];
  reason: string;
  turnId: string | null;
}

/** Makes a thread; one that never gets a turn is nothing to the app-server. */
export async function startThread(peer: LanePeer): Promise<string> {
  return ThreadStarted.parse(await peer.request("thread/start", {})).thread.id;
}

/**
 * Starts the message's turn, or joins the one that it started before (the bridge's ledger knows), and waits for its end.
 * Throws what is worth another try.
 */
export async function runTurn(
  peer: LanePeer,
  input: LaneInput,
  threadId: string,
): Promise<TurnEnd> {
  try {
    const params = {
      threadId,
      clientUserMessageId: input.id,
      input: [{ type: "text", text: input.text, text_elements: [] }],
    };
    const { turn } = Started.parse(await peer.request("turn/start", params));
    return endOf(turn.status === "inProgress" ? await peer.turnEnd(turn.id) : turn);
  } catch (error) {
    const refused = error instanceof Refused ? finalRefusal(error) : undefined;
    if (!refused) throw error;
    return refused;
  }
}

/** A refusal that another try would not change; undefined = try again. Pure. */
export function finalRefusal({ reason, message }: Refused): TurnEnd | undefined {
  if (reason === "OutcomeUnknown" || reason === "conflict") {
    return { state: "unknown", reason: message, turnId: null };
  }
  // The bridge's own reasons (busy, draining, open …) pass; the app-server's no is final.
  return reason === undefined ? { state: "failed", reason: message, turnId: null } : undefined;
}

/** Pure. */
export function endOf({ id, status, error }: Turn): TurnEnd {
  if (status === "completed") return { state: "done", reason: "", turnId: id };
  const state = status === "failed" ? "failed" : "interrupted";
  const words = z.looseObject({ message: z.string() }).safeParse(error);
  const reason = words.success ? words.data.message : `the turn was ${state}`;
  return { state, reason, turnId: id };
}
