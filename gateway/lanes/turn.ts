import { z } from "zod";
import type { TurnEnd as End } from "../state/turns.ts";
import { type Link, Refused, Turn } from "./lane-peer.ts";
import { answerText, readItems, type TurnRecord } from "./turn-record.ts";

const Started = z.looseObject({ turn: Turn });
const ThreadStarted = z.looseObject({ thread: z.looseObject({ id: z.string() }) });
const Page = z.looseObject({ data: z.array(Turn) });
/** The newest turns of a thread; the one that just ended is among them. */
const PAGE_TURNS = 20;

/** What became of a turn. */
export type TurnEnd = Pick<End, "outcome" | "reason" | "turnId" | "ranTool" | "text">;

/** A turn's start: `id` is its `clientUserMessageId`. */
export interface TurnStart {
  id: string;
  input: object[];
  threadId: string;
}

/** Called when the turn has started, with what is seen of it while it runs. */
export type OnRunning = (turnId: string, record: TurnRecord) => void;

/** Makes a thread; one that never gets a turn is nothing to the app-server. */
export async function startThread(link: Link): Promise<string> {
  return ThreadStarted.parse(await link.request("thread/start", {})).thread.id;
}

/**
 * Starts the turn, or joins the one that it started before (the bridge's ledger knows), and waits for its end.
 * Throws what is worth another try.
 */
export async function runTurn(
  link: Link,
  { id, input, threadId }: TurnStart,
  onRunning: OnRunning,
): Promise<TurnEnd> {
  try {
    const params = { threadId, clientUserMessageId: id, input };
    const { turn } = Started.parse(await link.request("turn/start", params));
    const record = link.record(turn.id, threadId);
    const isRunning = turn.status === "inProgress";
    if (isRunning) onRunning(turn.id, record);
    const ended = isRunning ? await link.turnEnd(turn.id) : turn;
    return await summary(link, { threadId, record, started: turn, ended });
  } catch (error) {
    const refused = error instanceof Refused ? finalRefusal(error) : undefined;
    if (!refused) throw error;
    return refused;
  }
}

interface Ended {
  threadId: string;
  record: TurnRecord;
  started: Turn;
  ended: Turn;
}

/** Text and tools: as they were seen, or, where the turn was not watched from its start, as the thread's history has them. */
async function summary(link: Link, { threadId, record, started, ended }: Ended): Promise<TurnEnd> {
  // The ledger's answer carries its own mark; an app-server's does not: then nothing was missed.
  const isWhole = started.argusRan === undefined;
  if (isWhole) return endOf(ended, { text: answerText(record.texts), ranTool: record.ranTool });
  const ran = started.argusRan || ended.argusRan || record.ranTool;
  const known = await fromHistory(link, threadId, ended);
  return endOf(ended, { text: known.text, ranTool: known.ranTool || ran });
}

async function fromHistory(link: Link, threadId: string, ended: Turn) {
  const params = { threadId, itemsView: "full", sortDirection: "desc", limit: PAGE_TURNS };
  try {
    const { data } = Page.parse(await link.request("thread/turns/list", params));
    const found = data.find(({ id }) => id === ended.id);
    if (found) return readItems(found.items, true);
  } catch (error) {
    // A runtime without such a history says no; a lost connection is tried again.
    if (!(error instanceof Refused)) throw error;
  }
  return readItems(ended.items, false);
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
export function endOf(
  { id, status, error }: Turn,
  seen: { text: string; ranTool: boolean },
): TurnEnd {
  const facts = { turnId: id, ...seen };
  if (status === "completed") return { outcome: "done", reason: "", ...facts };
  const outcome = status === "failed" ? "failed" : "interrupted";
  const words = z.looseObject({ message: z.string() }).safeParse(error);
  const reason = words.success ? words.data.message : `the turn was ${outcome}`;
  return { outcome, reason, ...facts };
}
