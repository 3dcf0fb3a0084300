import { z } from "zod";
import { ArgusError } from "#lib/errors.ts";
import { LineSplitter, MAX_APP_SERVER_LINE_BYTES } from "#lib/lines.ts";
import { BRIDGE_NOTIFICATION } from "#protocol/bridge.ts";
import { RPC_ERROR } from "#protocol/envelope.ts";
import type { BridgeSink } from "../bridge-connection.ts";
import type { GreetedBridge } from "../dial.ts";
import { type AgentQuestion, readQuestion } from "./agent-question.ts";
import { type TurnRecord, TurnRecords } from "./turn-record.ts";

/** Ends that are remembered: the answer that names a turn may come after its end. */
const MAX_ENDED = 32;
const REQUEST_TIMEOUT_MS = 130_000;

const Answer = z.looseObject({
  id: z.number(),
  result: z.unknown().optional(),
  error: z
    .looseObject({
      code: z.number(),
      message: z.string(),
      data: z.looseObject({ reason: z.string().optional() }).nullish(),
    })
    .optional(),
});
export const Turn = z.looseObject({
  id: z.string(),
  status: z.string(),
  items: z.unknown().optional(),
  itemsView: z.string().optional(),
  /** The bridge's word: a tool of it ran. */
  argusRan: z.boolean().optional(),
});
export type Turn = z.infer<typeof Turn>;
const Resolved = z.looseObject({ requestId: z.number() });
/** "Method not found": the bridge asks its other peers. */
const NO_ANSWER = { code: RPC_ERROR.methodNotFound, message: "nobody here answers this question" };
const TurnCompleted = z.looseObject({ threadId: z.string(), turn: Turn });

/** A request that the bridge or the app-server refused. `reason` is the bridge's own word; undefined = the app-server said no. */
export class Refused extends Error {
  readonly code: number;
  readonly reason: string | undefined;

  constructor(error: { code: number; message: string; reason: string | undefined }) {
    super(error.message);
    this.name = "Refused";
    this.code = error.code;
    this.reason = error.reason;
  }
}

/** What a lane needs of a bridge. A simulation has its own. */
export interface Link {
  readonly isGone: boolean;
  /** Resolves to the result. Throws {@link Refused}, or `Unavailable` when the connection ends or nothing answers in time. */
  request(method: string, params: unknown): Promise<unknown>;
  /** Resolves when the turn has ended. Throws `Unavailable` when the connection ends first. */
  turnEnd(turnId: string): Promise<Turn>;
  /** What has been seen of the turn so far. */
  record(turnId: string, threadId: string): TurnRecord;
  /** Answers a question of the agent. */
  answer(id: number, result: unknown): void;
  /** A question goes on to somebody else who can answer it. */
  withdraw(id: number): void;
  close(): void;
}

/** What a lane hears of a bridge besides the answers to its requests. */
export interface LinkEvents {
  /** Anybody's turn ended: a busy thread may be free. */
  onTurnEnd: () => void;
  /** The agent asks a person. Absent = every question is withdrawn. */
  onQuestion?: (question: AgentQuestion, link: Link) => void;
  /** A question is settled. */
  onResolved?: (id: number) => void;
}

/** The lane's own connection to a bridge: requests with answers, ends of turns, questions of the agent. */
export class LanePeer implements BridgeSink, Link {
  readonly wantsOwnBuffer = false;
  readonly #bridge: GreetedBridge;
  readonly #splitter = new LineSplitter({
    maxBytes: MAX_APP_SERVER_LINE_BYTES,
    onOverflow: "skip",
  });
  readonly #asked = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #ended = new Map<string, Turn>();
  readonly #waiting = new Map<string, PromiseWithResolvers<Turn>>();
  readonly #records = new TurnRecords();
  #isGone = false;
  readonly #events: LinkEvents;
  #nextId = 1;

  constructor(bridge: GreetedBridge, events: LinkEvents) {
    this.#bridge = bridge;
    this.#events = events;
    bridge.start(this);
  }

  get isGone(): boolean {
    return this.#isGone;
  }

  async request(method: string, params: unknown): Promise<unknown> {
    if (this.#isGone) throw lost();
    const id = this.#nextId++;
    const answer = Promise.withResolvers<unknown>();
    this.#asked.set(id, answer);
    this.#write({ id, method, params });
    const timer = setTimeout(() => answer.reject(lost()), REQUEST_TIMEOUT_MS);
    try {
      return await answer.promise;
    } finally {
      clearTimeout(timer);
      this.#asked.delete(id);
    }
  }

  turnEnd(turnId: string): Promise<Turn> {
    const ended = this.#ended.get(turnId);
    if (ended) return Promise.resolve(ended);
    if (this.#isGone) return Promise.reject(lost());
    const waiting = this.#waiting.get(turnId) ?? Promise.withResolvers<Turn>();
    waiting.promise.catch(() => undefined);
    this.#waiting.set(turnId, waiting);
    return waiting.promise;
  }

  record(turnId: string, threadId: string): TurnRecord {
    return this.#records.watch(turnId, threadId);
  }

  close(): void {
    this.#bridge.destroy();
  }

  data(chunk: Buffer): { kept: boolean; full: boolean } {
    // The chunk is only borrowed and lines may be slices of it: each is parsed before this returns.
    for (const line of this.#splitter.push(Buffer.from(chunk)).lines) this.#take(line);
    return { kept: false, full: false };
  }

  writable(): void {}

  ended(): void {
    this.#isGone = true;
    for (const { reject } of this.#asked.values()) reject(lost());
    for (const { reject } of this.#waiting.values()) reject(lost());
  }

  /** The turns that ran have ended without a word. Whoever waits, or is about to, asks the ledger over another connection. */
  #restarted(): void {
    this.close();
    this.ended();
  }

  #take(line: Buffer): void {
    const message = parsed(line);
    const method = message?.["method"];
    if (message === undefined || typeof method !== "string") return this.#answered(message);
    if (message["id"] !== undefined) return this.#asks(method, message);
    this.#records.see(method, message["params"]);
    if (method === "serverRequest/resolved") this.#resolved(message["params"]);
    if (method === "turn/completed") this.#completed(message["params"]);
    if (method === BRIDGE_NOTIFICATION.restarted) this.#restarted();
  }

  #answered(message: unknown): void {
    const { data } = Answer.safeParse(message);
    const asked = data && this.#asked.get(data.id);
    if (!asked) return;
    if (!data.error) return asked.resolve(data.result);
    const { code, message: text, data: more } = data.error;
    asked.reject(new Refused({ code, message: text, reason: more?.reason }));
  }

  #asks(method: string, { id, params }: Record<string, unknown>): void {
    const { onQuestion } = this.#events;
    const changes = (turnId: string, item: string) => this.#records.get(turnId)?.changes.get(item);
    const number = typeof id === "number" ? id : -1;
    const question = onQuestion && readQuestion(number, { method, params, changes });
    if (question && number >= 0) onQuestion(question, this);
    else this.#write({ id, error: NO_ANSWER });
  }

  answer(id: number, result: unknown): void {
    this.#write({ id, result });
  }

  withdraw(id: number): void {
    this.#write({ id, error: NO_ANSWER });
  }

  #write(message: object): void {
    if (!this.#isGone) this.#bridge.write([Buffer.from(`${JSON.stringify(message)}\n`)]);
  }

  #resolved(params: unknown): void {
    const { data } = Resolved.safeParse(params);
    if (data) this.#events.onResolved?.(data.requestId);
  }

  #completed(params: unknown): void {
    const { data } = TurnCompleted.safeParse(params);
    if (!data) return;
    const { turn } = data;
    this.#ended.set(turn.id, turn);
    for (const oldest of this.#ended.keys()) {
      if (this.#ended.size > MAX_ENDED) this.#ended.delete(oldest);
    }
    this.#waiting.get(turn.id)?.resolve(turn);
    this.#waiting.delete(turn.id);
    this.#events.onTurnEnd();
  }
}

function parsed(line: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(line.toString("utf8"));
    return typeof value === "object" && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}

function lost(): ArgusError {
  return new ArgusError("Unavailable", "The connection to the session's bridge ended.");
}
