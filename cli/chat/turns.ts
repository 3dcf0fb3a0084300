import { RPC_ERROR } from "#protocol/envelope.ts";
import { listAt, numberAt, textAt } from "./fields.ts";
import { plainReason } from "./items.ts";
import type { Message } from "./outbox.ts";
import type { TurnEnd } from "./shown.ts";
import { type Chat, request, show } from "./state.ts";

/** A message that the session itself (not its agent) failed this often is given up. */
const MAX_FAILURES = 5;

const input = (text: string) => [{ type: "text", text, text_elements: [] }];

/** Sends the next message when nothing of the thread runs. */
export function pump(chat: Chat): void {
  if (chat.phase !== "ready" || chat.paused) return;
  const message = chat.outbox.take();
  if (message) startTurn(chat, message);
}

function startTurn(chat: Chat, message: Message): void {
  request(chat, { kind: "turn" }, "turn/start", {
    threadId: chat.threadId,
    clientUserMessageId: message.inputId,
    input: input(message.text),
  });
}

export function say(chat: Chat, text: string): void {
  const inputId = chat.options.newId();
  const turn = chat.outbox.turn;
  if (chat.options.steer && turn?.own && chat.phase === "ready") {
    return steer(chat, { inputId, text, turnId: turn.id });
  }
  if (!chat.outbox.add({ inputId, text, failures: 0 })) {
    return show(chat, "error", "too many messages wait already; this one was not taken");
  }
  if (turn && !turn.own)
    show(chat, "status", "another client's turn runs; your message waits for its end");
  else if (chat.phase !== "ready" && chat.session)
    show(chat, "status", "your message waits for the session");
}

function steer(
  chat: Chat,
  { inputId, text, turnId }: { inputId: string; text: string; turnId: string },
): void {
  chat.outbox.remember(inputId);
  request(chat, { kind: "steer", inputId, text }, "turn/steer", {
    threadId: chat.threadId,
    expectedTurnId: turnId,
    clientUserMessageId: inputId,
    input: input(text),
  });
}

/** A steer was not taken. Where it may have arrived all the same, the turn's items or the person decide. */
export function steerRefused(
  chat: Chat,
  { inputId, text }: { inputId: string; text: string },
  error: unknown,
): void {
  if (numberAt(error, "code") !== RPC_ERROR.server) return steerFailed(chat, inputId, text);
  chat.cutSteers.set(inputId, text);
  if (!chat.outbox.turn?.own) forgetCutSteers(chat);
}

/** The turn ended before the text reached it: it becomes the next message. */
export function steerFailed(chat: Chat, inputId: string, text: string): void {
  if (!chat.outbox.add({ inputId, text, failures: 0 })) {
    show(chat, "error", "too many messages wait already; the last one was not taken");
  }
}

/**
 * A steer that a cut left open may have arrived, and its turn may have ended since: it is not repeated blindly. Its
 * message shows up among the turn's items when it arrived; when the turn ends without it, it becomes the next message.
 */
function settleCutSteers(chat: Chat): void {
  for (const [inputId, text] of chat.cutSteers) steerFailed(chat, inputId, text);
  chat.cutSteers.clear();
}

/** Notifications were lost: nobody can tell whether the steers arrived. */
export function forgetCutSteers(chat: Chat): void {
  for (const text of chat.cutSteers.values()) {
    show(
      chat,
      "error",
      `whether this reached the agent is not known, say it again if not: ${text}`,
    );
  }
  chat.cutSteers.clear();
}

export function interrupt(chat: Chat): void {
  const turn = chat.outbox.turn;
  if (!turn?.own || chat.phase !== "ready") {
    chat.effects.push({ type: "leave" });
    return;
  }
  show(chat, "status", "interrupting the turn; Ctrl-C again leaves");
  request(chat, { kind: "interrupt" }, "turn/interrupt", {
    threadId: chat.threadId,
    turnId: turn.id,
  });
}

/** An interrupt ends the turn, not the shell command that it runs: Codex keeps that as a background terminal. */
export function cleanUp(chat: Chat): void {
  const { threadId } = chat;
  request(chat, { kind: "clean" }, "thread/backgroundTerminals/clean", { threadId });
}

/** Repeats the message under way with its input id: the ledger answers a known one and starts an unknown one. */
export function settleUnderWay(chat: Chat): void {
  const message = chat.outbox.underWay;
  const confirmed = chat.outbox.turn?.own === true && !chat.unsure;
  if (message && !isStartOpen(chat) && !confirmed) startTurn(chat, message);
}

const isStartOpen = (chat: Chat) => [...chat.open.values()].some(({ kind }) => kind === "turn");

/** Our turn/start came to nothing that we know of: a turn that runs may be anybody's. */
export function disownTurn(chat: Chat): void {
  if (chat.outbox.turn) chat.outbox.turn.own = false;
}

/** turn/start was answered. */
export function turnAccepted(chat: Chat, result: unknown): void {
  const id = textAt(result, "turn", "id");
  if (!id) return settle(chat, "unknown", "the agent took the message without naming a turn");
  const status = textAt(result, "turn", "status");
  const seen = chat.outbox.endOf(id);
  if (seen) return settle(chat, seen);
  if (status !== undefined && status !== "inProgress") {
    // It ended while nobody listened: its text is in the history only.
    request(chat, { kind: "read", turnId: id }, "thread/read", {
      threadId: chat.threadId,
      includeTurns: true,
    });
    return;
  }
  chat.outbox.turn = { id, own: true };
}

export function turnRefused(chat: Chat, error: unknown): void {
  const message = textAt(error, "message") ?? "refused";
  const busy = numberAt(error, "code") === RPC_ERROR.busy;
  const underWay = chat.outbox.underWay;
  const mayRepeat = busy || numberAt(error, "code") === RPC_ERROR.server;
  disownTurn(chat);
  if (!underWay) return;
  if (!busy) underWay.failures++;
  if (!mayRepeat || underWay.failures >= MAX_FAILURES) return settle(chat, "failed", message);
  if (message !== chat.lastStatus) show(chat, "status", `your message waits: ${message}`);
  chat.lastStatus = message;
  chat.outbox.putBack();
  chat.paused = true;
  chat.effects.push({ type: "retryLater" });
}

export function turnStarted(chat: Chat, params: unknown): void {
  const id = textAt(params, "turn", "id") ?? textAt(params, "turnId");
  if (!id || chat.outbox.endOf(id)) return;
  // While our turn/start is open its turn is ours; the answer that follows confirms it.
  const own = chat.outbox.turn?.id === id ? chat.outbox.turn.own : isStartOpen(chat);
  chat.outbox.turn = { id, own };
}

export function turnCompleted(chat: Chat, params: unknown): void {
  const id = textAt(params, "turn", "id") ?? "";
  const end = endOf(textAt(params, "turn", "status"));
  const own = chat.outbox.turn?.id === id && chat.outbox.turn.own;
  const answered = !isStartOpen(chat);
  chat.outbox.turnEnded(id, end);
  chat.paused = false;
  // An interrupted answer has no end of its own.
  show(chat, "agent", "\n");
  // Not yet answered = the answer that follows finds the recorded end.
  if (own) settleCutSteers(chat);
  if (own && answered) settle(chat, end, textAt(params, "turn", "error", "message"));
  else if (end === "interrupted") show(chat, "status", "the turn was interrupted");
}

/** The history was read for a turn whose end was not seen. */
export function turnRead(chat: Chat, turnId: string, result: unknown): void {
  const turn = listAt(result, "thread", "turns").find((each) => textAt(each, "id") === turnId);
  const texts = listAt(turn, "items")
    .filter((item) => textAt(item, "type") === "agentMessage")
    .map((item) => textAt(item, "text") ?? "");
  const last = texts.at(-1);
  if (last) show(chat, "agent", `${last}\n`);
  settle(chat, endOf(textAt(turn, "status")), textAt(turn, "error", "message"));
}

/** The message under way came to its end. */
export function settle(chat: Chat, end: TurnEnd, reason?: string): void {
  chat.outbox.underWay = undefined;
  if (chat.outbox.turn?.own) chat.outbox.forgetTurn();
  chat.lastStatus = "";
  if (end === "interrupted") show(chat, "status", "interrupted");
  const why = chat.items.wasSaid(reason) ? "" : `: ${plainReason(reason ?? "no reason given")}`;
  if (end === "failed") show(chat, "error", `the turn failed${why}`);
  if (end === "unknown") show(chat, "error", reason ?? "how the turn ended is not known");
  chat.effects.push({ type: "settled", end });
}

function endOf(status: string | undefined): TurnEnd {
  return status === "completed" || status === "interrupted" || status === "failed"
    ? status
    : "unknown";
}
