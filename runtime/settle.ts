import { z } from "zod";
import type { Logger } from "#lib/logger.ts";
import type { Caller } from "./caller.ts";
import type { Journal } from "./journal.ts";
import { endOf, keepable, type Ledger, type LedgerEntry } from "./ledger.ts";
import { type History, isUnsupported } from "./threads.ts";

const PAGE_TURNS = 50;
/** Turns that are looked through at most: the newest ones, far more than a process can have accepted and not finished. */
const MAX_PAGES = 40;
const TIMEOUT_MS = 60_000;
/** Clocks of turn and ledger are the same machine's; history counts in whole seconds. */
const SLACK_MS = 60_000;

const Turn = z.looseObject({
  id: z.string(),
  status: z.unknown(),
  startedAt: z.number().nullish(),
  items: z.array(z.looseObject({ type: z.string(), clientId: z.string().nullish() })),
});
type Turn = z.infer<typeof Turn>;
const Queue = z.looseObject({
  data: z.array(z.looseObject({ clientUserMessageId: z.string() })),
  nextCursor: z.string().nullish(),
});
const Page = z.looseObject({ data: z.array(Turn), nextCursor: z.string().nullish() });

export interface SettleOptions {
  caller: Caller;
  ledger: Ledger;
  /** Forwarded to the process that runs now: not a matter of history yet. */
  isLive: (input: string) => boolean;
  journal: Journal;
  logger: Logger;
}

/**
 * Decides, after the process ended that had accepted them, what became of a thread's open inputs: in history = it ran, never
 * again; absent = it never ran, a repeat starts it, unless a tool was seen to run; no history = unknown. Throws what
 * `thread/turns/list` failed with: then nothing is decided.
 */
export async function settleThread(
  options: SettleOptions,
  threadId: string,
  history: History,
): Promise<void> {
  const { ledger, journal, logger, isLive } = options;
  const open = ledger.open(threadId).filter(({ input }) => !isLive(input));
  if (open.length === 0) return;
  const found = history === "there" ? await findTurns(options, threadId, open) : new Map();
  const isMissing = ({ via, input }: LedgerEntry) =>
    via === "thread/queue/add" && !found.has(input);
  const asksQueue = history === "there" && open.some(isMissing);
  const queued = asksQueue ? await queuedInputs(options, threadId) : new Set();
  for (const entry of open) {
    // Somebody else decided it while we looked.
    if (ledger.get(entry.input) !== entry || queued.has(entry.input)) continue;
    const line = settleEntry(ledger, entry, history, found.get(entry.input));
    await journal.append(line, true);
    const state = ledger.get(entry.input)?.state ?? "neverRan";
    logger.info({ thread: threadId, input: entry.input, state }, "input settled by history");
  }
}

/** The line that decides one entry. Pure but for the ledger. */
export function settleEntry(
  ledger: Ledger,
  entry: LedgerEntry,
  history: History,
  turn: Turn | undefined,
): string {
  if (turn) {
    const result = keepable(turn);
    return ledger.put({ ...entry, state: endOf(turn.status), turn: turn.id, result });
  }
  if (entry.ran) return ledger.put({ ...entry, state: "interrupted" });
  if (history === "unsupported") return ledger.put({ ...entry, state: "unknown" });
  return ledger.drop(entry.input);
}

/** Inputs that still wait for their turn in the thread's queue; none where there are no queues. */
async function queuedInputs({ caller }: SettleOptions, threadId: string): Promise<Set<string>> {
  const inputs = new Set<string>();
  let cursor: string | null | undefined;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const asked = cursor ? { threadId, cursor } : { threadId };
    const answer = await caller
      .call("thread/queue/list", asked, { timeoutMs: TIMEOUT_MS })
      .catch((error: unknown) => {
        if (isUnsupported(error)) return { data: [] };
        throw error;
      });
    const { data, nextCursor } = Queue.parse(answer);
    for (const { clientUserMessageId } of data) inputs.add(clientUserMessageId);
    cursor = nextCursor;
    if (!cursor) break;
  }
  return inputs;
}

/** Turns of the wanted inputs, newest pages first until all are found or the turns are older than the inputs. */
async function findTurns(
  { caller }: SettleOptions,
  threadId: string,
  wanted: readonly LedgerEntry[],
): Promise<Map<string, Turn>> {
  const found = new Map<string, Turn>();
  const since = Math.min(...wanted.map(({ at }) => at)) - SLACK_MS;
  let cursor: string | undefined;
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const params = { threadId, itemsView: "full", sortDirection: "desc", limit: PAGE_TURNS };
    const asked = cursor === undefined ? params : { ...params, cursor };
    const { data, nextCursor } = Page.parse(
      await caller.call("thread/turns/list", asked, { timeoutMs: TIMEOUT_MS }),
    );
    for (const turn of data) noteInputs(turn, found);
    const older = data.some(
      ({ startedAt }) => typeof startedAt === "number" && startedAt * 1000 < since,
    );
    if (older || !nextCursor || wanted.every(({ input }) => found.has(input))) return found;
    cursor = nextCursor;
  }
  return found;
}

function noteInputs(turn: Turn, found: Map<string, Turn>): void {
  for (const { type, clientId } of turn.items) {
    if (type === "userMessage" && clientId && !found.has(clientId)) found.set(clientId, turn);
  }
}
