import { z } from "zod";
import { monotonicMs } from "#lib/clock.ts";
import { remember } from "#lib/remember.ts";
import { actsOnWorld } from "#protocol/turn-items.ts";

/** Turns that are remembered: the answer that names a turn may come after its end. */
const MAX_TURNS = 32;
/** What is kept of one change of files, for the question whether it may be made. */
const MAX_CHANGE = 16 * 1024;
/** Text of one turn that is collected; the rest stays in the thread. */
const MAX_TEXT = 512 * 1024;

const Item = z.looseObject({
  id: z.string().optional(),
  type: z.string(),
  text: z.string().optional(),
  phase: z.string().nullish(),
  command: z.string().optional(),
  changes: z.array(z.looseObject({ path: z.string(), diff: z.string().optional() })).optional(),
});
type Item = z.infer<typeof Item>;
const Status = z.looseObject({ activeFlags: z.array(z.string()).optional() });
const Params = z.looseObject({
  threadId: z.string(),
  turnId: z.string().optional(),
  turn: z.looseObject({ id: z.string() }).optional(),
  item: Item.optional(),
  status: z.unknown().optional(),
  error: z.looseObject({ message: z.string(), codexErrorInfo: z.unknown().optional() }).optional(),
  willRetry: z.boolean().optional(),
});
type Params = z.infer<typeof Params>;

/** What was seen of one turn. Times are ms since the epoch. */
export interface TurnRecord {
  threadId: string;
  /** Its agent's messages that are no comments on its own work, in order. */
  texts: string[];
  ranTool: boolean;
  /** Commands that run now: item id → command line. */
  commands: Map<string, string>;
  /** Files that the agent is about to change: item id → what a person reads of it. */
  changes: Map<string, string>;
  waitsForApproval: boolean;
  /** The model could not be reached and is tried again: what it said. */
  trouble: string;
  /** The last sign of life of its thread, on a monotonic clock. */
  heardAt: number;
  /** The thread's history was compacted: it may have lost its context files. */
  compacted: boolean;
  /** Its start was not seen here: commands that we know nothing of may run. */
  joined: boolean;
  /** Something of it changed. */
  onChange?: () => void;
}

/** What the notifications of a bridge say about its turns. Bounded: the oldest turn is forgotten. */
export class TurnRecords {
  readonly #turns = new Map<string, TurnRecord>();
  readonly #now: () => number;

  constructor(now: () => number = monotonicMs) {
    this.#now = now;
  }

  get(turnId: string): TurnRecord | undefined {
    return this.#turns.get(turnId);
  }

  /** Begins to look at a turn, also one of which nothing has been heard yet. */
  watch(turnId: string, threadId: string): TurnRecord {
    const known = this.#turns.get(turnId);
    if (known) return known;
    const record: TurnRecord = {
      threadId,
      texts: [],
      ranTool: false,
      commands: new Map(),
      changes: new Map(),
      waitsForApproval: false,
      trouble: "",
      heardAt: this.#now(),
      compacted: false,
      joined: false,
    };
    remember(this.#turns, turnId, record, MAX_TURNS);
    return record;
  }

  /** Takes in a notification; one of another shape than we know changes nothing. */
  see(method: string, params: unknown): void {
    const { data } = Params.safeParse(params);
    if (!data) return;
    for (const record of this.#turns.values()) {
      if (record.threadId === data.threadId) record.heardAt = this.#now();
    }
    const turnId = data.turnId ?? data.turn?.id;
    if (method === "thread/status/changed") return this.#status(data);
    if (turnId === undefined) return;
    const record = this.watch(turnId, data.threadId);
    about(record, method, data);
    record.onChange?.();
  }

  #status({ threadId, status }: Params): void {
    for (const record of this.#turns.values()) {
      if (record.threadId !== threadId) continue;
      record.waitsForApproval = waitsForApproval(status);
      record.onChange?.();
    }
  }
}

/** A notification of the turn itself. */
function about(record: TurnRecord, method: string, { willRetry, error, item }: Params): void {
  if (method === "thread/compacted") record.compacted = true;
  if (method === "error") record.trouble = willRetry ? troubleWords(error) : "";
  else if (method.startsWith("item/")) record.trouble = "";
  if (item) note(record, method, item);
}

/** Whether a thread's status, as the app-server tells it, says that a person is asked. Pure. */
export function waitsForApproval(status: unknown): boolean {
  const { data } = Status.safeParse(status);
  return data?.activeFlags?.includes("waitingOnApproval") ?? false;
}

/** Why the model is asked again, in words. */
function troubleWords(error: Params["error"]): string {
  const about = JSON.stringify(error?.codexErrorInfo ?? "");
  const isLimited = /429|rateLimit|usageLimit|TooManyFailedAttempts/i.test(about);
  const message = (error?.message ?? "").slice(0, 300);
  return isLimited ? `its rate limit (${message})` : `the model (${message})`;
}

function note(record: TurnRecord, method: string, item: Item): void {
  if (actsOnWorld(item.type)) record.ranTool = true;
  if (item.type === "contextCompaction") record.compacted = true;
  const id = item.id ?? "";
  if (method === "item/started" && item.type === "commandExecution") {
    record.commands.set(id, item.command ?? "a command");
  }
  if (method === "item/started" && item.changes) record.changes.set(id, changeWords(item.changes));
  if (method !== "item/completed") return;
  record.commands.delete(id);
  record.changes.delete(id);
  const size = record.texts.reduce((sum, text) => sum + text.length, 0);
  if (isAnswer(item) && size < MAX_TEXT) record.texts.push(item.text.slice(0, MAX_TEXT));
}

/** The files' names first: a cut must not hide one. */
function changeWords(changes: NonNullable<Item["changes"]>): string {
  const names = changes.map(({ path }) => path).join("\n");
  const diffs = changes.map(({ diff }) => diff?.trimEnd() ?? "").filter((diff) => diff !== "");
  return [names, ...diffs].join("\n\n").slice(0, MAX_CHANGE);
}

/** A message to the person; comments on its own work are none. */
function isAnswer(item: Item): item is Item & { text: string } {
  const isWords = item.type === "agentMessage" && item.phase !== "commentary";
  return isWords && (item.text ?? "").trim() !== "";
}

/** The words of a turn as one text. Pure. */
export function answerText(texts: readonly string[]): string {
  return texts.map((text) => text.trim()).join("\n\n");
}

const Items = z.array(Item).catch([]);

/** Text and tools of a turn as history or the bridge's ledger have it. `complete`: every item is there. Pure. */
export function readItems(items: unknown, complete: boolean): { text: string; ranTool: boolean } {
  const known = Items.parse(items);
  const text = answerText(known.filter(isAnswer).map((item) => item.text));
  return { text, ranTool: !complete || known.some(({ type }) => actsOnWorld(type)) };
}
