import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { RPC_ERROR } from "#protocol/envelope.ts";
import type { TurnEnd as End } from "../state/turns.ts";
import { type Link, Refused, Turn } from "./lane-peer.ts";
import { answerText, readItems, type TurnRecord, waitsForApproval } from "./turn-record.ts";

const Started = z.looseObject({ turn: Turn });
const ThreadStarted = z.looseObject({ thread: z.looseObject({ id: z.string() }) });
const ThreadRead = z.looseObject({ thread: z.looseObject({ status: z.unknown() }) });
const Page = z.looseObject({ data: z.array(Turn) });
/** The newest turns of a thread; the one that just ended is among them. */
const PAGE_TURNS = 20;
/** History has a turn's end 30–50 ms after it was told. */
const LAG_MS = 50;
const MAX_LOOKS = 5;

/** What became of a turn. */
export interface TurnEnd extends Pick<End, "outcome" | "reason" | "turnId" | "ranTool" | "text"> {
  /** It was started by an earlier request, maybe with other words about its surroundings. */
  joined?: boolean;
}

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
    const joined = turn.argusRan !== undefined;
    if (isRunning && joined) await catchUp(link, threadId, record);
    if (isRunning) onRunning(turn.id, record);
    const ended = isRunning ? await link.turnEnd(turn.id) : turn;
    return { ...(await summary(link, { threadId, record, started: turn, ended })), joined };
  } catch (error) {
    const refused = error instanceof Refused ? finalRefusal(error) : undefined;
    if (!refused) throw error;
    return refused;
  }
}

/** What a turn does that was not watched from its start: whether a person is asked is told, which commands run is not. */
async function catchUp(link: Link, threadId: string, record: TurnRecord): Promise<void> {
  record.joined = true;
  const read = ThreadRead.safeParse(await unlessRefused(link.request("thread/read", { threadId })));
  record.waitsForApproval = waitsForApproval(read.data?.thread.status);
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
  const isWhole = started.argusRan === undefined && !record.joined;
  if (isWhole) return endOf(ended, { text: answerText(record.texts), ranTool: record.ranTool });
  const ran = started.argusRan || ended.argusRan || record.ranTool;
  const summed = readItems(ended.items, false);
  const known = (await fromHistory(link, threadId, ended.id)) ?? summed;
  // What was heard since it was joined is the end of it.
  const text = known.text || answerText(record.texts) || summed.text;
  return endOf(ended, { text, ranTool: known.ranTool || ran });
}

/** The turn as history has it, which lags a little; undefined = this runtime has none, or not of this turn. */
async function fromHistory(link: Link, threadId: string, turnId: string) {
  const params = { threadId, itemsView: "full", sortDirection: "desc", limit: PAGE_TURNS };
  for (let look = 1; ; look += 1) {
    const page = Page.safeParse(await unlessRefused(link.request("thread/turns/list", params)));
    const found = page.data?.data.find(({ id }) => id === turnId);
    if (!page.success || look === MAX_LOOKS) return found && readItems(found.items, false);
    if (found && found.status !== "inProgress") return readItems(found.items, true);
    await delay(LAG_MS);
  }
}

/** A runtime without such a request says no; a lost connection is thrown. */
async function unlessRefused(request: Promise<unknown>): Promise<unknown> {
  try {
    return await request;
  } catch (error) {
    if (error instanceof Refused) return undefined;
    throw error;
  }
}

/** A refusal that another try would not change; undefined = try again. Pure. */
export function finalRefusal({ reason, message, code }: Refused): TurnEnd | undefined {
  const facts = { reason: message, turnId: null, text: "" };
  if (reason === "OutcomeUnknown" || reason === "conflict") {
    return { outcome: "unknown", ranTool: true, ...facts };
  }
  // The bridge's own reasons (busy, draining, open …) and an overload pass; the app-server's no is final.
  const isFinal = reason === undefined && code !== RPC_ERROR.busy;
  return isFinal ? { outcome: "refused", ranTool: false, ...facts } : undefined;
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
