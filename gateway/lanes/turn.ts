import { z } from "zod";
import type { TurnEnd as End } from "../state/turns.ts";
import { type LanePeer, Refused, Turn } from "./lane-peer.ts";

const Started = z.looseObject({ turn: Turn });
const ThreadStarted = z.looseObject({ thread: z.looseObject({ id: z.string() }) });

/** What became of a turn. */
export type TurnEnd = Pick<End, "outcome" | "reason" | "turnId" | "ranTool" | "text">;

/** A turn's start: `id` is its `clientUserMessageId`. */
export interface TurnStart {
  id: string;
  text: string;
  threadId: string;
}

/** Makes a thread; one that never gets a turn is nothing to the app-server. */
export async function startThread(peer: LanePeer): Promise<string> {
  return ThreadStarted.parse(await peer.request("thread/start", {})).thread.id;
}

/**
 * Starts the turn, or joins the one that it started before (the bridge's ledger knows), and waits for its end.
 * Throws what is worth another try.
 */
export async function runTurn(peer: LanePeer, { id, text, threadId }: TurnStart): Promise<TurnEnd> {
  try {
    const params = {
      threadId,
      clientUserMessageId: id,
      input: [{ type: "text", text, text_elements: [] }],
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
  const facts = { reason: message, turnId: null, text: "" };
  if (reason === "OutcomeUnknown" || reason === "conflict") {
    return { outcome: "unknown", ranTool: true, ...facts };
  }
  // The bridge's own reasons (busy, draining, open …) pass; the app-server's no is final.
  return reason === undefined ? { outcome: "refused", ranTool: false, ...facts } : undefined;
}

/** Pure. */
export function endOf({ id, status, error }: Turn): TurnEnd {
  const facts = { turnId: id, ranTool: true, text: "" };
  if (status === "completed") return { outcome: "done", reason: "", ...facts };
  const outcome = status === "failed" ? "failed" : "interrupted";
  const words = z.looseObject({ message: z.string() }).safeParse(error);
  return {
    outcome,
    reason: words.success ? words.data.message : `the turn was ${outcome}`,
    ...facts,
  };
}
