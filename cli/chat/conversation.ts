import type { Envelope } from "#protocol/envelope.ts";
import { RPC_ERROR } from "#protocol/envelope.ts";
import { Approvals } from "./approvals.ts";
import { at, numberAt, textAt } from "./fields.ts";
import * as session from "./session.ts";
import type { Decision } from "./shown.ts";
import {
  type Asked,
  type Chat,
  type ChatEvent,
  type Effect,
  type Opening,
  request,
  send,
  show,
} from "./state.ts";
import * as turns from "./turns.ts";

/**
 * One step of a client's side of a session, without any I/O: an event goes in, effects come out, `chat` moves on. It
 * outlives connections: what was under way at a cut is repeated with the same input id, so it starts at most one turn.
 */
export function step(chat: Chat, event: ChatEvent): Effect[] {
  chat.effects = [];
  take(chat, event);
  session.follow(chat);
  session.wake(chat);
  turns.pump(chat);
  return chat.effects;
}

function take(chat: Chat, event: ChatEvent): void {
  switch (event.type) {
    case "frame":
      return frame(chat, event.message);
    case "closed":
      return closed(chat, event.tooBig);
    case "say":
      return turns.say(chat, event.text);
    case "answer":
      return answer(chat, event.decision);
    case "interrupt":
      return turns.interrupt(chat);
    case "newThread":
      return newThread(chat);
    case "listThreads":
      return listThreads(chat);
    case "retry":
      return retry(chat);
  }
}

function frame(chat: Chat, message: Envelope): void {
  if (typeof message.method !== "string") return response(chat, message);
  if ("id" in message) return serverRequest(chat, message.method, message);
  const seq = numberAt(message, "argusSeq");
  // Seen before the cut already.
  if (seq !== undefined && chat.seq !== undefined && seq <= chat.seq) return;
  if (seq !== undefined) chat.seq = seq;
  notification(chat, message.method, message.params);
}

function notification(chat: Chat, method: string, params: unknown): void {
  if (session.sessionNotification(chat, method, params)) return;
  if (method === "serverRequest/resolved") return resolved(chat, at(params, "requestId"));
  const threadId = textAt(params, "threadId");
  if (threadId !== undefined && threadId !== chat.threadId) return;
  if (method === "turn/started") turns.turnStarted(chat, params);
  if (method === "item/started") chat.approvals.noteItem(at(params, "item"));
  chat.cutSteers.delete(textAt(params, "item", "clientId") ?? "");
  for (const shown of chat.items.show(method, params)) chat.effects.push({ type: "show", shown });
  if (method === "turn/completed") turns.turnCompleted(chat, params);
}

function response(chat: Chat, message: Envelope): void {
  const asked = typeof message.id === "number" ? chat.open.get(message.id) : undefined;
  if (!asked || typeof message.id !== "number") return;
  chat.open.delete(message.id);
  if (message.error === undefined) answered(chat, asked, message.result);
  else failed(chat, asked, message.error);
}

type Heard = (chat: Chat, what: unknown) => void;

const again: Heard = (chat, error) => session.openFailed(chat, error, false);
const OPENING: Record<Opening, { answered: Heard; failed: Heard }> = {
  initialize: { answered: (chat) => session.initialized(chat), failed: again },
  main: { answered: session.mainFound, failed: session.mainFailed },
  reset: { answered: (chat) => session.mainReset(chat), failed: again },
  list: { answered: session.listed, failed: (chat) => session.startThread(chat) },
  start: { answered: (chat, result) => session.threadOpened(chat, result, true), failed: again },
  resume: {
    answered: (chat, result) => session.threadOpened(chat, result, false),
    failed: (chat, error) => session.openFailed(chat, error, true),
  },
};

const isOpening = (asked: Asked): asked is { kind: Opening } => asked.kind in OPENING;

function answered(chat: Chat, asked: Asked, result: unknown): void {
  if (isOpening(asked)) return OPENING[asked.kind].answered(chat, result);
  switch (asked.kind) {
    case "threads":
      return session.showThreads(chat, result);
    case "turn":
      return turns.turnAccepted(chat, result);
    case "read":
      return turns.turnRead(chat, asked.turnId, result);
    case "interrupt":
      return turns.cleanUp(chat);
    case "steer":
    case "wake":
    case "clean":
      return undefined;
  }
}

function failed(chat: Chat, asked: Asked, error: unknown): void {
  if (isOpening(asked)) return OPENING[asked.kind].failed(chat, error);
  const message = textAt(error, "message") ?? "unknown error";
  switch (asked.kind) {
    case "turn":
      return turns.turnRefused(chat, error);
    case "steer":
      return turns.steerRefused(chat, asked, error);
    case "read":
      return turns.settle(chat, "unknown", `how the turn ended cannot be read: ${message}`);
    case "threads":
    case "interrupt":
      return show(chat, "error", message);
    case "wake":
    case "clean": // only some runtimes know it
      return undefined;
  }
}

function serverRequest(chat: Chat, method: string, message: Envelope): void {
  if (!Approvals.understands(method)) {
    const words = `argus chat cannot answer ${method}`;
    show(chat, "status", `the agent asks something: ${words}; it is left to other clients`);
    // To the bridge this is no answer: it asks the session's other clients, and declines only when none is left.
    return send(chat, {
      id: message.id,
      error: { code: RPC_ERROR.methodNotFound, message: words },
    });
  }
  if (chat.approvals.add(message.id, method, message.params))
    chat.effects.push({ type: "question" });
}

function resolved(chat: Chat, id: unknown): void {
  if (chat.approvals.settle(id)) chat.effects.push({ type: "question" });
}

function answer(chat: Chat, decision: Decision): void {
  const question = chat.approvals.first;
  if (!question) return show(chat, "status", "nothing waits for an answer");
  chat.approvals.settle(question.id);
  send(chat, { id: question.id, result: { decision } });
  chat.effects.push({ type: "question" });
}

/** The socket is gone: questions come again, requests are repeated once the session is back. */
function closed(chat: Chat, tooBig: boolean): void {
  chat.phase = "offline";
  chat.woken = false;
  for (const asked of chat.open.values()) {
    if (asked.kind === "steer") chat.cutSteers.set(asked.inputId, asked.text);
    if (asked.kind === "turn") turns.disownTurn(chat);
  }
  chat.open.clear();
  chat.approvals.clear();
  chat.effects.push({ type: "question" });
  if (tooBig && chat.outbox.underWay) turns.settle(chat, "failed", "the message is too long");
}

function newThread(chat: Chat): void {
  if (chat.outbox.turn || chat.outbox.underWay)
    return show(chat, "status", "a turn runs: /new works after its end");
  chat.wantNewThread = true;
  chat.threadId = undefined;
  if (chat.phase === "ready") session.newThread(chat);
}

function listThreads(chat: Chat): void {
  if (chat.phase !== "ready") return show(chat, "status", "the session is not ready yet");
  request(chat, { kind: "threads" }, "thread/list", { limit: 10, sortKey: "updated_at" });
}

function retry(chat: Chat): void {
  chat.paused = false;
  if (chat.phase === "opening" && chat.open.size === 0) session.initialized(chat);
}
