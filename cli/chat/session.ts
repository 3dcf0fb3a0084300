import { BRIDGE_NOTIFICATION } from "#protocol/bridge.ts";
import { RPC_ERROR } from "#protocol/envelope.ts";
import { MAIN_THREAD_CHANGED } from "#protocol/session-methods.ts";
import { at, listAt, numberAt, textAt } from "./fields.ts";
import { type Chat, request, send, show } from "./state.ts";
import { forgetCutSteers, settleUnderWay } from "./turns.ts";

const CLIENT = { name: "argus_chat", title: "Argus chat", version: "0.1.0" };

/** The gateway's and the bridge's own notifications; false when `method` is none of them. */
export function sessionNotification(chat: Chat, method: string, params: unknown): boolean {
  switch (method) {
    case "argus/session":
      chat.session = textAt(params, "id") ?? chat.session;
      chat.phase = "waiting";
      reachable(chat, params);
      return true;
    case "argus/status":
      status(chat, params);
      return true;
    case MAIN_THREAD_CHANGED:
      moved(chat, params);
      return true;
    case BRIDGE_NOTIFICATION.gap:
      gap(chat, params);
      return true;
    case BRIDGE_NOTIFICATION.restarted:
      restarted(chat, params);
      return true;
    case BRIDGE_NOTIFICATION.state:
      return true;
    default:
      return method.startsWith("argus/");
  }
}

function status(chat: Chat, params: unknown): void {
  const state = textAt(params, "state");
  const message = textAt(params, "message") ?? "";
  const text = state === "unavailable" ? `not available: ${message}` : message;
  if (state !== "ready" && text && text !== chat.lastStatus) show(chat, "status", text);
  chat.lastStatus = state === "ready" ? "" : text;
  reachable(chat, params);
}

/** The bridge is there once its boot is known: the handshake follows. */
function reachable(chat: Chat, params: unknown): void {
  const boot = textAt(params, "boot");
  if (at(params, "echo") === true && !chat.echo) {
    chat.echo = true;
    show(chat, "status", "this session runs the built-in echo: it repeats what you say, no model");
  }
  const warning = textAt(params, "warning");
  if (warning && warning !== chat.warning) {
    chat.warning = warning;
    show(chat, "status", `note: ${warning}`);
  }
  if (!boot || chat.phase !== "waiting") return;
  if (chat.boot !== undefined && chat.boot !== boot) {
    show(chat, "status", "the session was started again; what ran then is looked up");
    chat.unsure = true;
    forgetCutSteers(chat);
    // Of the new boot everything is replayed.
    chat.seq = 0;
  }
  chat.boot = boot;
  chat.seq ??= numberAt(params, "seq") ?? 0;
  chat.phase = "opening";
  request(chat, { kind: "initialize" }, "initialize", { clientInfo: CLIENT, capabilities: {} });
}

function gap(chat: Chat, params: unknown): void {
  const from = numberAt(params, "from");
  const to = numberAt(params, "to");
  const which = to === undefined ? `from ${from} on` : `${from}–${to}`;
  const text = `notifications ${which} are no longer kept: parts of the output may be missing here`;
  show(chat, "status", text);
  chat.unsure = true;
  forgetCutSteers(chat);
  if (chat.phase === "ready") ready(chat);
}

/** The app-server is new: turns that ran are over, open requests were failed by the bridge. */
function restarted(chat: Chat, params: unknown): void {
  const reason = textAt(params, "reason");
  show(chat, "status", `the agent was started again${reason ? `: ${reason}` : ""}`);
  chat.outbox.forgetTurn();
  forgetCutSteers(chat);
  if (chat.phase === "ready") settleUnderWay(chat);
}

/** initialize was answered: now the thread. */
export function initialized(chat: Chat): void {
  send(chat, { method: "initialized" });
  const isMain = chat.options.thread === "main";
  // It may have moved while nobody listened.
  chat.mainMoved = isMain && chat.threadId !== undefined;
  if (chat.threadId && !chat.unsure) return ready(chat);
  if (chat.threadId) return resumeThread(chat, chat.threadId);
  if (chat.wantNewThread) return newThread(chat);
  if (isMain) return openMain(chat);
  request(chat, { kind: "list" }, "thread/list", { limit: 1, sortKey: "updated_at" });
}

/** A conversation of its own, or a new one of the session's. */
export function newThread(chat: Chat): void {
  if (chat.options.thread !== "main") return startThread(chat);
  chat.phase = "opening";
  const params = { key: `chat:${chat.options.newId()}` };
  request(chat, { kind: "reset" }, "argus/thread/main/reset", params);
}

/** Asks where the session's conversation is; the gateway makes one where there is none. */
export function openMain(chat: Chat): void {
  chat.phase = "opening";
  request(chat, { kind: "main" }, "argus/thread/main/ensure", {});
}

/** The former conversation is over. */
export function mainReset(chat: Chat): void {
  chat.wantNewThread = false;
  chat.threadId = undefined;
  openMain(chat);
}

export function mainFound(chat: Chat, result: unknown): void {
  chat.mainMoved = false;
  const id = textAt(result, "threadId");
  if (!id) return show(chat, "error", "the gateway did not name the session's thread");
  if (id === chat.threadId) return ready(chat);
  if (at(result, "created") === true) return threadOpened(chat, { thread: { id } }, true);
  resumeThread(chat, id);
}

/** A gateway that knows no main thread: the thread that was used last. */
export function mainFailed(chat: Chat, error: unknown): void {
  if (numberAt(error, "code") !== RPC_ERROR.methodNotFound) return openFailed(chat, error, false);
  request(chat, { kind: "list" }, "thread/list", { limit: 1, sortKey: "updated_at" });
}

function moved(chat: Chat, params: unknown): void {
  const threadId = textAt(params, "threadId");
  chat.mainMoved = chat.options.thread === "main" && threadId !== chat.threadId;
}

/** Nobody but a message wakes a session that was suspended, and ours waits here until it is ready. */
export function wake(chat: Chat): void {
  if (chat.phase !== "waiting" || chat.woken || chat.outbox.settled) return;
  chat.woken = true;
  request(chat, { kind: "wake" }, "argus/session/wake", {});
}

/** Goes where the session's conversation is, between turns. */
export function follow(chat: Chat): void {
  const isBusy = chat.outbox.underWay !== undefined || chat.outbox.turn?.own === true;
  if (chat.mainMoved && chat.phase === "ready" && !isBusy) openMain(chat);
}

/** Policy and folder are the session's own: the bridge fills them in. */
export function startThread(chat: Chat): void {
  chat.phase = "opening";
  request(chat, { kind: "start" }, "thread/start", {});
}

function resumeThread(chat: Chat, threadId: string): void {
  chat.phase = "opening";
  request(chat, { kind: "resume" }, "thread/resume", { threadId, excludeTurns: true });
}

export function listed(chat: Chat, result: unknown): void {
  const threadId = textAt(listAt(result, "data")[0], "id");
  if (threadId) resumeThread(chat, threadId);
  else startThread(chat);
}

/** thread/start or thread/resume was answered. */
export function threadOpened(chat: Chat, result: unknown, isNew: boolean): void {
  const threadId = textAt(result, "thread", "id");
  if (!threadId) return show(chat, "error", "the agent did not name the thread that it opened");
  const continues = chat.threadId === threadId;
  chat.threadId = threadId;
  chat.wantNewThread = false;
  if (!continues) {
    // Whatever runs there runs in the thread that was left.
    chat.outbox.forgetTurn();
    show(chat, "status", openedText(chat, result, isNew));
  }
  ready(chat);
}

function openedText(chat: Chat, result: unknown, isNew: boolean): string {
  const title = textAt(result, "thread", "name") ?? textAt(result, "thread", "preview");
  const what = isNew ? "new thread" : `thread continued${title ? `: ${title}` : ""}`;
  const hint = chat.options.steer ? ". /help lists the commands" : "";
  return `session ${chat.session}, ${what}${hint}`;
}

export function ready(chat: Chat): void {
  chat.phase = "ready";
  chat.paused = false;
  if (chat.unsure && !chat.outbox.turn?.own) chat.outbox.forgetTurn();
  settleUnderWay(chat);
  chat.unsure = false;
}

/** The thread could not be opened: one that the agent does not know is made anew; what may pass is tried again. */
export function openFailed(chat: Chat, error: unknown, wasResume: boolean): void {
  const message = textAt(error, "message") ?? "unknown error";
  const code = numberAt(error, "code");
  const mayPass = code === RPC_ERROR.server || code === RPC_ERROR.busy;
  if (wasResume && !mayPass) {
    show(chat, "status", `the last thread cannot be continued (${message}); starting a new one`);
    chat.threadId = undefined;
    return newThread(chat);
  }
  show(chat, "error", `no thread could be opened: ${message}`);
  chat.paused = true;
  chat.effects.push({ type: "retryLater" });
}

/** What is shown for /threads. */
export function showThreads(chat: Chat, result: unknown): void {
  const threads = listAt(result, "data");
  if (threads.length === 0) show(chat, "status", "no threads yet");
  for (const thread of threads) {
    const id = textAt(thread, "id") ?? "?";
    const title = textAt(thread, "name") ?? textAt(thread, "preview") ?? "";
    show(chat, "status", `${id === chat.threadId ? "*" : " "} ${id}  ${title}`);
  }
}
