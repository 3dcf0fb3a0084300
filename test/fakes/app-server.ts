import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LineSplitter } from "#lib/lines.ts";

/**
 * A scripted app-server in JSON lines. The first word of a turn's text decides: `say` completes, `hold` runs until
 * `test/finish` or an interrupt, `ask` asks for an approval first, `tool` starts a tool item and holds, `lost` completes without
 * history, `mute` never answers. Threads with a completed turn are kept in FAKE_HOME; every line received is appended to
 * FAKE_HOME/received. `test/…` requests: `emit {lines}` writes base64 lines as they are, `echo`, `finish {threadId}`, `exit`.
 */
const home = process.env.FAKE_HOME ?? ".";
const noHistory = process.env.FAKE_NO_HISTORY === "1";
mkdirSync(home, { recursive: true });

interface Turn {
  id: string;
  status: string;
  startedAt: number;
  items: Record<string, unknown>[];
}
interface Thread {
  id: string;
  turns: Turn[];
  running?: Turn;
  queue?: Record<string, unknown>[];
}
interface Message {
  id?: unknown;
  method?: string;
  params?: Record<string, unknown>;
  result?: unknown;
}

const threads = new Map<string, Thread>();
const questions = new Map<number, { thread: Thread; line: string }>();
const terminals = new Set<string>();
let nextQuestion = 0;
let count = 0;

const send = (message: unknown) => process.stdout.write(`${JSON.stringify(message)}\n`);
const notify = (method: string, params: unknown) =>
  send({ method, params, emittedAtMs: Date.now() });
const fail = (id: unknown, code: number, message: string) => send({ id, error: { code, message } });
const fileOf = (threadId: string) => join(home, `${threadId}.json`);
const newId = () =>
  `0199${process.pid.toString(16).padStart(8, "0")}-${Date.now().toString(16)}-${(count += 1)}`;
const shown = ({ id }: Thread) => ({ id, status: { type: "idle" }, turns: [] });

function load(threadId: string): Thread | undefined {
  if (!existsSync(fileOf(threadId))) return undefined;
  const thread = JSON.parse(readFileSync(fileOf(threadId), "utf8")) as Thread;
  threads.set(threadId, thread);
  return thread;
}

function complete(thread: Thread, status = "completed", keep = true): void {
  const turn = thread.running;
  if (!turn) return;
  delete thread.running;
  turn.status = status;
  thread.turns.push(turn);
  if (keep && !noHistory) writeFileSync(fileOf(thread.id), JSON.stringify(thread));
  notify("thread/status/changed", { threadId: thread.id, status: { type: "idle" } });
  notify("turn/completed", {
    threadId: thread.id,
    turn: { ...turn, items: [], itemsView: "summary" },
  });
  const next = thread.queue?.shift();
  if (next) startTurn(undefined, thread, next);
}

const scripts: Record<string, (thread: Thread, turn: Turn) => void> = {
  say: (thread, { id }) => {
    for (const delta of ["hel", "lo"]) {
      notify("item/agentMessage/delta", { threadId: thread.id, turnId: id, itemId: "m", delta });
    }
    complete(thread);
  },
  hold: () => undefined,
  lost: (thread) => complete(thread, "completed", false),
  tool: (thread, { id }) => {
    const item = { type: "commandExecution", id: "c" };
    notify("item/started", { threadId: thread.id, turnId: id, item });
  },
  ask: (thread, { id }) => {
    const question = nextQuestion;
    nextQuestion += 1;
    const params = { threadId: thread.id, turnId: id, itemId: "c", command: "touch x" };
    const line = JSON.stringify({
      method: "item/commandExecution/requestApproval",
      id: question,
      params,
    });
    questions.set(question, { thread, line });
    process.stdout.write(`${line}\n`);
  },
};

function startTurn(id: unknown, thread: Thread, params: Record<string, unknown>): void {
  const [first] = (params.input ?? []) as { text?: string }[];
  const text = first?.text ?? "hold";
  const script = scripts[text.split(" ")[0] ?? ""] ?? scripts.hold;
  const joined = thread.running;
  const turn = joined ?? {
    id: newId(),
    status: "inProgress",
    startedAt: Date.now() / 1000,
    items: [],
  };
  const item = { type: "userMessage", clientId: params.clientUserMessageId ?? null, text };
  turn.items.push(item);
  if (id !== undefined && !text.startsWith("mute"))
    send({ id, result: { turn: { ...turn, items: [] } } });
  if (joined) return;
  thread.running = turn;
  notify("thread/status/changed", {
    threadId: thread.id,
    status: { type: "active", activeFlags: [] },
  });
  notify("turn/started", { threadId: thread.id, turn });
  if (!text.startsWith("mute"))
    notify("item/started", { threadId: thread.id, turnId: turn.id, item });
  script?.(thread, turn);
}

const onThread = (id: unknown, params: Record<string, unknown>): Thread | undefined => {
  const thread = threads.get(String(params.threadId));
  if (!thread) fail(id, -32600, `thread not found: ${String(params.threadId)}`);
  return thread;
};

const methods: Record<string, (id: unknown, params: Record<string, unknown>) => void> = {
  initialize: (id, params) =>
    params.fail === true
      ? fail(id, -32000, "initialize failed on request")
      : send({ id, result: { userAgent: `fake/${process.pid}`, got: params } }),
  "thread/start": (id, params) => {
    const thread: Thread = { id: newId(), turns: [] };
    threads.set(thread.id, thread);
    send({ id, result: { thread: shown(thread), cwd: params.cwd, got: params } });
    notify("thread/started", { thread: shown(thread) });
  },
  "thread/resume": (id, params) => {
    const threadId = String(params.threadId);
    const thread = threads.get(threadId) ?? (noHistory ? undefined : load(threadId));
    if (noHistory) fail(id, -32601, "Method not found: thread/resume");
    else if (!thread) fail(id, -32600, `no rollout found for thread id ${threadId}`);
    else send({ id, result: { thread: shown(thread), got: params } });
    for (const question of questions.values()) {
      if (question.thread === thread) process.stdout.write(`${question.line}\n`);
    }
  },
  "thread/turns/list": (id, params) => {
    const thread = onThread(id, params);
    if (thread) send({ id, result: { data: thread.turns.toReversed(), nextCursor: null } });
  },
  "thread/loaded/list": (id) =>
    send({ id, result: { data: [...threads.keys()], nextCursor: null } }),
  "thread/backgroundTerminals/list": (id, params) => {
    const data = terminals.has(String(params.threadId)) ? [{ processId: "1" }] : [];
    send({ id, result: { data, nextCursor: null } });
  },
  "turn/start": (id, params) => {
    const thread = onThread(id, params);
    if (thread) startTurn(id, thread, params);
  },
  "turn/steer": (id, params) => {
    const thread = onThread(id, params);
    const { clientUserMessageId: clientId, expectedTurnId } = params;
    if (!thread) return;
    if (expectedTurnId !== thread.running?.id) {
      fail(id, -32600, "expected active turn id");
      return;
    }
    const turnId = thread.running?.id;
    send({ id, result: { turnId } });
    const item = { type: "userMessage", clientId: clientId ?? null };
    thread.running?.items.push(item);
    notify("item/started", { threadId: thread.id, turnId, item });
  },
  "thread/queue/add": (id, params) => {
    const thread = onThread(id, params);
    if (!thread) return;
    const { clientUserMessageId, input } = params;
    thread.queue = [...(thread.queue ?? []), params];
    if (thread.turns.length > 0)
      writeFileSync(fileOf(thread.id), JSON.stringify({ ...thread, running: undefined }));
    send({ id, result: { queuedSubmission: { id: newId(), clientUserMessageId, input } } });
  },
  "thread/queue/list": (id, params) => {
    const thread = onThread(id, params);
    if (thread) send({ id, result: { data: thread.queue ?? [], nextCursor: null } });
  },
  "turn/interrupt": (id, params) => {
    const thread = onThread(id, params);
    send({ id, result: {} });
    if (thread) complete(thread, "interrupted");
  },
  "test/finish": (id, params) => {
    const thread = onThread(id, params);
    send({ id, result: {} });
    if (thread) complete(thread);
  },
  "test/terminal": (id, params) => {
    if (params.on === true) terminals.add(String(params.threadId));
    else terminals.delete(String(params.threadId));
    send({ id, result: {} });
  },
  "test/emit": (id, params) => {
    for (const line of params.lines as string[]) process.stdout.write(Buffer.from(line, "base64"));
    send({ id, result: {} });
  },
  "test/flood": (id, params) => {
    const delta = "x".repeat(Number(params.bytes));
    for (let n = 0; n < Number(params.count); n += 1) notify("test/flooded", { n, delta });
    send({ id, result: {} });
  },
  "test/echo": (id, params) => send({ id, result: params }),
  "test/silent": () => undefined,
  "test/exit": (_id, params) => process.exit(Number(params.code ?? 1)),
};

function settle(id: number, result: unknown): void {
  const question = questions.get(id);
  if (!question) return;
  questions.delete(id);
  const threadId = question.thread.id;
  notify("serverRequest/resolved", { threadId, requestId: id });
  notify("test/answered", { id, result });
  complete(question.thread);
}

function handle(line: Buffer): void {
  appendFileSync(join(home, "received"), line);
  const { id, method, params = {}, result } = JSON.parse(line.toString("utf8")) as Message;
  if (method === undefined) return settle(Number(id), result);
  if (id === undefined) return;
  const run = methods[method];
  if (run) run(id, params);
  else fail(id, -32600, `Invalid request: unknown variant \`${method}\``);
}

const splitter = new LineSplitter({ maxBytes: 2 ** 30, onOverflow: "skip" });
process.stdin.on("data", (chunk: Buffer) => {
  for (const line of splitter.push(chunk).lines) handle(line);
});
// FAKE_STAYS: one that does not notice that its bridge is gone.
if (process.env.FAKE_STAYS === "1") setInterval(() => undefined, 60_000);
else process.stdin.on("end", () => process.exit(0));
