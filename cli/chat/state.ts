import type { Envelope } from "#protocol/envelope.ts";
import { Approvals } from "./approvals.ts";
import { Items } from "./items.ts";
import { Outbox } from "./outbox.ts";
import type { Decision, Shown, TurnEnd } from "./shown.ts";

export type ChatEvent =
  | { type: "frame"; message: Envelope }
  /** `tooBig`: the gateway refused our last frame for its size. */
  | { type: "closed"; tooBig: boolean }
  | { type: "say"; text: string }
  | { type: "answer"; decision: Decision }
  | { type: "interrupt" }
  | { type: "newThread" }
  | { type: "listThreads" }
  /** The pause after a refusal is over. */
  | { type: "retry" };

export type Effect =
  | { type: "send"; message: Envelope }
  | { type: "show"; shown: Shown }
  /** The first open question changed; look at `chat.approvals.first`. */
  | { type: "question" }
  /** Send the event `retry` after a moment. */
  | { type: "retryLater" }
  /** One of this client's messages is settled. */
  | { type: "settled"; end: TurnEnd }
  /** Nothing runs that could be interrupted: the person wants to leave. */
  | { type: "leave" };

export interface ChatOptions {
  /** Makes input ids; each must be unique for all time. */
  newId: () => string;
  /** `main`: the session's conversation, wherever it goes on; `latest`: the thread that was used last; `new`: one of its own. */
  thread: "main" | "latest" | "new";
  /** Whether text said during an own turn joins it; else it waits for the turn's end. */
  steer: boolean;
}

/** Requests on the way to a thread. */
export type Opening = "initialize" | "main" | "reset" | "list" | "start" | "resume";

/** What an answer is the answer to. */
export type Asked =
  | { kind: Opening }
  | { kind: "threads" | "interrupt" | "clean" | "turn" | "wake" }
  | { kind: "read"; turnId: string }
  | { kind: "steer"; inputId: string; text: string };

/** offline → (socket) → waiting for the session → opening a thread → ready. */
export type Phase = "offline" | "waiting" | "opening" | "ready";

/** One client's side of a session. Only `step` and the functions that it calls change it. */
export interface Chat {
  readonly options: ChatOptions;
  phase: Phase;
  session?: string;
  boot?: string;
  /** argusSeq of the last notification of `boot`. */
  seq?: number;
  echo: boolean;
  /** Shown last: a reconnect repeats it. */
  warning?: string;
  threadId?: string;
  wantNewThread: boolean;
  /** The session's conversation may go on in another thread: it is asked where, as soon as no turn of ours runs. */
  mainMoved: boolean;
  /** The gateway was told that a message waits for the session. */
  woken: boolean;
  /** A turn may have ended unseen (other boot, gap): its outcome is asked for. */
  unsure: boolean;
  lastStatus: string;
  nextId: number;
  /** A refused message waits for `retry` or for the end of another's turn. */
  paused: boolean;
  readonly open: Map<number, Asked>;
  /** turn/steer requests that a cut left without an answer: input id → text. */
  readonly cutSteers: Map<string, string>;
  readonly outbox: Outbox;
  readonly approvals: Approvals;
  readonly items: Items;
  effects: Effect[];
}

export function createChat(options: ChatOptions): Chat {
  const outbox = new Outbox();
  return {
    options,
    phase: "offline",
    echo: false,
    wantNewThread: options.thread === "new",
    mainMoved: false,
    woken: false,
    unsure: false,
    lastStatus: "",
    nextId: 1,
    paused: false,
    open: new Map(),
    cutSteers: new Map(),
    outbox,
    approvals: new Approvals(),
    items: new Items((inputId) => outbox.isOwn(inputId)),
    effects: [],
  };
}

export function show(chat: Chat, kind: Shown["kind"], text: string): void {
  chat.effects.push({ type: "show", shown: { kind, text } });
}

export function send(chat: Chat, message: Envelope): void {
  chat.effects.push({ type: "send", message });
}

export function request(chat: Chat, asked: Asked, method: string, params: unknown): void {
  const id = chat.nextId++;
  chat.open.set(id, asked);
  send(chat, { id, method, params });
}
