import { z } from "zod";

/** Bounds: the oldest settled entries leave first; an open one only by its age. */
export const LEDGER_ENTRIES = 2000;
export const LEDGER_AGE_MS = 7 * 24 * 60 * 60 * 1000;
/** Entries whose outcome is open; with so many a further input is refused. */
export const LEDGER_OPEN = 1000;
/** No turn runs for so long: nobody settles such an entry any more. */
export const LEDGER_OPEN_AGE_MS = 30 * 24 * 60 * 60 * 1000;
/** A turn's summary above this is kept without its items. */
export const LEDGER_RESULT_BYTES = 64 * 1024;

/**
 * What became of one input. `open`: forwarded, its end is not known. `unknown`: the runtime has no history that could tell.
 * Example: `{"input":"gw-1","thread":"0199…","at":1764000000000,"state":"done","turn":"0199…","result":{…}}`
 */
export const LedgerEntry = z.object({
  /** `clientUserMessageId` of the request. */
  input: z.string().min(1).max(512),
  thread: z.string().max(512),
  /** ms since the epoch. */
  at: z.number(),
  state: z.enum(["open", "done", "failed", "interrupted", "unknown"]),
  turn: z.string().max(512).optional(),
  /** The request that brought it, where that was no turn/start. */
  via: z.enum(["turn/steer", "thread/queue/add"]).optional(),
  /** The accepted submission of a thread/queue/add: it waits in the thread's queue until it has a turn. */
  queued: z.unknown().optional(),
  /** A tool item of this turn was seen: it must not run again even if no history knows it. */
  ran: z.boolean().optional(),
  /** The turn as `turn/completed` brought it. */
  result: z.unknown().optional(),
});
export type LedgerEntry = z.infer<typeof LedgerEntry>;
export type TurnEnd = Exclude<LedgerEntry["state"], "open" | "unknown">;

const Dropped = z.object({ input: z.string(), dropped: z.literal(true) });

/** Input id → turn, state, result. Pure: every change returns the line that makes it lasting. */
export class Ledger {
  /** In the order of their first record: the oldest first. */
  readonly #entries = new Map<string, LedgerEntry>();

  get(input: string): LedgerEntry | undefined {
    return this.#entries.get(input);
  }

  get size(): number {
    return this.#entries.size;
  }

  put(entry: LedgerEntry): string {
    this.#entries.set(entry.input, entry);
    return `${JSON.stringify(entry)}\n`;
  }

  /** It never ran: a repeat starts it. */
  drop(input: string): string {
    this.#entries.delete(input);
    return `${JSON.stringify({ input, dropped: true })}\n`;
  }

  /** Entries whose outcome is open, of one thread or of all. */
  open(thread?: string): LedgerEntry[] {
    return [...this.#entries.values()].filter(
      (entry) => entry.state === "open" && (thread === undefined || entry.thread === thread),
    );
  }

  /** Open entries that belong to a turn: a steered turn has several inputs. */
  ofTurn(turn: string): LedgerEntry[] {
    return this.open().filter((entry) => entry.turn === turn);
  }

  /** No further entry may be opened. */
  get full(): boolean {
    return this.open().length >= LEDGER_OPEN;
  }

  /** Forgets entries over the bounds. */
  expire(now: number): void {
    let over = this.#entries.size - LEDGER_ENTRIES;
    for (const entry of this.#entries.values()) {
      const isOpen = entry.state === "open";
      const isOld = now - entry.at > (isOpen ? LEDGER_OPEN_AGE_MS : LEDGER_AGE_MS);
      if (!isOld && (isOpen || over <= 0)) continue;
      this.#entries.delete(entry.input);
      over -= 1;
    }
  }

  /** Everything, as one would write it anew. */
  snapshot(): string {
    return [...this.#entries.values()].map((entry) => `${JSON.stringify(entry)}\n`).join("");
  }

  /** Reads the lines that put and drop made. Returns how many were unreadable (a torn last one is normal after a crash). */
  load(text: string): number {
    let unreadable = 0;
    for (const line of text.split("\n")) {
      if (line !== "" && !this.#read(line)) unreadable += 1;
    }
    return unreadable;
  }

  #read(line: string): boolean {
    const value = parse(line);
    const dropped = Dropped.safeParse(value);
    if (dropped.success) {
      this.#entries.delete(dropped.data.input);
      return true;
    }
    const entry = LedgerEntry.safeParse(value);
    if (entry.success) this.#entries.set(entry.data.input, entry.data);
    return entry.success;
  }
}

/** The state that a turn's status means for its inputs. A turn that history still calls running ended with its process. */
export function endOf(status: unknown): TurnEnd {
  if (status === "completed") return "done";
  return status === "failed" ? "failed" : "interrupted";
}

/** The turn that answers a repeated turn/start, in the app-server's own shape. */
export function turnOf(entry: LedgerEntry): Record<string, unknown> {
  const status = {
    open: "inProgress",
    done: "completed",
    failed: "failed",
    interrupted: "interrupted",
  };
  const blank = {
    id: entry.turn ?? "",
    rootTurnId: null,
    items: [],
    itemsView: "notLoaded",
    status: entry.state === "unknown" ? "interrupted" : status[entry.state],
    error: null,
    startedAt: null,
    completedAt: null,
    durationMs: null,
    argusRan: entry.ran ?? false,
  };
  return typeof entry.result === "object" ? { ...blank, ...entry.result } : blank;
}

/** Like the answer that `method` got, or would have got, for this input; undefined while that is not known. */
export function answerOf(method: string, entry: LedgerEntry): object | undefined {
  const { input, turn, queued } = entry;
  if (method === "thread/queue/add" && queued) return { queuedSubmission: queued };
  if (turn === undefined || entry.state === "unknown") return undefined;
  if (method === "turn/steer") return { turnId: turn };
  if (method !== "thread/queue/add") return { turn: turnOf(entry) };
  return { queuedSubmission: { id: turn, clientUserMessageId: input, input: [] } };
}

/** A turn small enough to be kept. */
export function keepable(turn: object): object {
  const small = JSON.stringify(turn).length <= LEDGER_RESULT_BYTES;
  return small ? turn : { ...turn, items: [], itemsView: "notLoaded" };
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
