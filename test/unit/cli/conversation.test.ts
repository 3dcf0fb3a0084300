import { expect, test } from "vitest";
import { step } from "#cli/chat/conversation.ts";
import {
  type Chat,
  type ChatEvent,
  type ChatOptions,
  createChat,
  type Effect,
} from "#cli/chat/state.ts";
import type { Envelope } from "#protocol/envelope.ts";

/** Drives a conversation as a gateway would; keeps everything it sent and showed. */
class Driver {
  readonly chat: Chat;
  readonly sent: Envelope[] = [];
  readonly shown: string[] = [];
  readonly settled: string[] = [];
  readonly others: Effect["type"][] = [];

  constructor(options: Partial<ChatOptions> = {}) {
    let ids = 0;
    this.chat = createChat({
      newId: () => `input-${++ids}`,
      thread: "latest",
      steer: true,
      ...options,
    });
  }

  take(event: ChatEvent): void {
    for (const effect of step(this.chat, event)) {
      if (effect.type === "send") this.sent.push(effect.message);
      else if (effect.type === "show")
        this.shown.push(`${effect.shown.kind}: ${effect.shown.text}`);
      else if (effect.type === "settled") this.settled.push(effect.end);
      else this.others.push(effect.type);
    }
  }

  frame(message: Envelope): void {
    this.take({ type: "frame", message });
  }

  last(method: string): Envelope {
    const found = this.sent.findLast((message) => message.method === method);
    if (!found) throw new Error(`${method} was not sent`);
    return found;
  }

  count(method: string): number {
    return this.sent.filter((message) => message.method === method).length;
  }

  answer(method: string, result: unknown): void {
    this.frame({ id: this.last(method).id, result });
  }

  refuse(method: string, code: number, message: string): void {
    this.frame({ id: this.last(method).id, error: { code, message } });
  }

  session(boot: string | null, seq = 0): void {
    this.frame({
      method: "argus/session",
      params: { id: "main", mode: "kubernetes", attached: true, created: false, boot, seq },
    });
  }

  /** Up to a continued thread t1. */
  ready(boot = "b1"): this {
    this.session(boot);
    this.answer("initialize", {});
    this.answer("thread/list", { data: [{ id: "t1" }] });
    this.answer("thread/resume", { thread: { id: "t1", preview: "before" } });
    return this;
  }

  notify(argusSeq: number, method: string, params: object): void {
    this.frame({ method, params: { threadId: "t1", ...params }, argusSeq });
  }

  /** Says `text` and lets its turn start. */
  turn(text: string, id: string): void {
    this.take({ type: "say", text });
    this.answer("turn/start", { turn: { id, status: "inProgress" } });
  }
}

const inputId = (message: Envelope) =>
  (message.params as { clientUserMessageId: string }).clientUserMessageId;

test("continues the thread that was used last", () => {
  const driver = new Driver().ready();
  expect(driver.last("thread/list").params).toEqual({ limit: 1, sortKey: "updated_at" });
  expect(driver.last("thread/resume").params).toMatchObject({ threadId: "t1" });
  expect(driver.chat.phase).toBe("ready");
});

test("starts a thread without any policy field where there is none", () => {
  const driver = new Driver();
  driver.session("b1");
  driver.answer("initialize", {});
  driver.answer("thread/list", { data: [] });
  expect(driver.last("thread/start").params).toEqual({});
  driver.answer("thread/start", { thread: { id: "t9" } });
  driver.take({ type: "say", text: "hello" });
  expect(driver.last("turn/start").params).toEqual({
    threadId: "t9",
    clientUserMessageId: "input-1",
    input: [{ type: "text", text: "hello", text_elements: [] }],
  });
});

test("a thread that cannot be continued is made anew", () => {
  const driver = new Driver();
  driver.session("b1");
  driver.answer("initialize", {});
  driver.answer("thread/list", { data: [{ id: "t1" }] });
  driver.refuse("thread/resume", -32600, "no rollout found");
  expect(driver.count("thread/start")).toBe(1);
});

test("a warning of the session is shown once, however often it is told", () => {
  const driver = new Driver();
  const params = { id: "main", boot: "b1", seq: 0, warning: "no sandbox here" };
  driver.frame({ method: "argus/session", params });
  driver.frame({ method: "argus/status", params: { ...params, state: "ready", message: "" } });
  driver.frame({ method: "argus/session", params });
  expect(driver.shown.filter((text) => text.includes("no sandbox here"))).toHaveLength(1);
});

test("tells why the session is not ready, once, and starts when it is", () => {
  const driver = new Driver();
  driver.session(null);
  const status = { id: "main", boot: null, seq: null };
  const starting = { ...status, state: "starting", message: "waits for its pod" };
  driver.frame({ method: "argus/status", params: starting });
  driver.frame({ method: "argus/status", params: starting });
  expect(driver.shown).toEqual(["status: waits for its pod"]);
  expect(driver.count("initialize")).toBe(0);
  const ready = { ...status, state: "ready", message: "", boot: "b1", seq: 4, echo: true };
  driver.frame({ method: "argus/status", params: ready });
  expect(driver.count("initialize")).toBe(1);
  expect(driver.shown.at(-1)).toContain("echo");
  expect(driver.chat.seq).toBe(4);
});

test("what is said before the session is ready is sent when it is, one turn after the other", () => {
  const driver = new Driver({ steer: false });
  driver.take({ type: "say", text: "one" });
  driver.take({ type: "say", text: "two" });
  driver.ready();
  expect(driver.count("turn/start")).toBe(1);
  driver.answer("turn/start", { turn: { id: "u1", status: "inProgress" } });
  driver.notify(1, "turn/completed", { turn: { id: "u1", status: "completed" } });
  expect(driver.settled).toEqual(["completed"]);
  expect(driver.count("turn/start")).toBe(2);
  expect(JSON.stringify(driver.last("turn/start").params)).toContain("two");
});

test("text typed while an own turn runs joins it", () => {
  const driver = new Driver().ready();
  driver.turn("go", "u1");
  driver.take({ type: "say", text: "and this" });
  expect(driver.last("turn/steer").params).toMatchObject({ threadId: "t1", expectedTurnId: "u1" });
  expect(driver.count("turn/start")).toBe(1);
});

test("a steer that came too late becomes the next message", () => {
  const driver = new Driver().ready();
  driver.turn("go", "u1");
  driver.take({ type: "say", text: "late" });
  driver.notify(1, "turn/completed", { turn: { id: "u1", status: "completed" } });
  driver.refuse("turn/steer", -32600, "no active turn");
  expect(JSON.stringify(driver.last("turn/start").params)).toContain("late");
});

test("a steer that a cut left open is sent again only when the turn ended without it", () => {
  const steered = () => {
    const driver = new Driver().ready();
    driver.turn("go", "u1");
    driver.take({ type: "say", text: "and this" });
    const id = inputId(driver.last("turn/steer"));
    driver.take({ type: "closed", tooBig: false });
    driver.session("b1");
    driver.answer("initialize", {});
    return { driver, id };
  };
  const end = { turn: { id: "u1", status: "completed" } };
  const lost = steered();
  lost.driver.notify(2, "turn/completed", end);
  expect(inputId(lost.driver.last("turn/start"))).toBe(lost.id);
  const arrived = steered();
  const item = { id: "i", type: "userMessage", clientId: arrived.id, content: [] };
  arrived.driver.notify(1, "item/completed", { item });
  arrived.driver.notify(2, "turn/completed", end);
  expect(arrived.driver.count("turn/start")).toBe(1);
  expect(arrived.driver.settled).toEqual(["completed"]);
  const unknown = steered();
  unknown.driver.frame({ method: "argus/restarted", params: { reason: "x" }, argusSeq: 1 });
  expect(unknown.driver.shown.some((line) => line.includes("not known"))).toBe(true);
});

test("another client's turn is waited for", () => {
  const driver = new Driver().ready();
  driver.notify(1, "turn/started", { turn: { id: "theirs" } });
  driver.take({ type: "say", text: "mine" });
  expect(driver.count("turn/start")).toBe(0);
  driver.notify(2, "turn/completed", { turn: { id: "theirs", status: "completed" } });
  expect(driver.count("turn/start")).toBe(1);
  expect(driver.settled).toEqual([]);
});

test("a busy thread is asked again with the same input id", () => {
  const driver = new Driver().ready();
  driver.take({ type: "say", text: "hello" });
  const first = inputId(driver.last("turn/start"));
  driver.refuse("turn/start", -32001, "busy");
  expect(driver.others).toContain("retryLater");
  expect(driver.count("turn/start")).toBe(1);
  driver.take({ type: "retry" });
  expect(driver.count("turn/start")).toBe(2);
  expect(inputId(driver.last("turn/start"))).toBe(first);
});

test("a final refusal is told and the next message follows", () => {
  const driver = new Driver({ steer: false }).ready();
  driver.take({ type: "say", text: "long" });
  driver.take({ type: "say", text: "next" });
  driver.refuse("turn/start", -32602, "input too large");
  expect(driver.settled).toEqual(["failed"]);
  expect(driver.shown.at(-1)).toContain("input too large");
  expect(JSON.stringify(driver.last("turn/start").params)).toContain("next");
});

test("a server that never takes a message is given up, not asked for ever", () => {
  const driver = new Driver().ready();
  driver.take({ type: "say", text: "hello" });
  for (let round = 0; round < 20 && driver.settled.length === 0; round++) {
    driver.refuse("turn/start", -32000, "broken");
    driver.take({ type: "retry" });
  }
  expect(driver.settled).toEqual(["failed"]);
});

test("a turn/start that was open at a cut is repeated with its input id", () => {
  const driver = new Driver().ready();
  driver.take({ type: "say", text: "hello" });
  const first = inputId(driver.last("turn/start"));
  driver.take({ type: "closed", tooBig: false });
  driver.session("b1");
  driver.answer("initialize", {});
  expect(driver.count("turn/start")).toBe(2);
  expect(inputId(driver.last("turn/start"))).toBe(first);
  expect(driver.count("thread/resume")).toBe(1);
});

test("a turn that was accepted before a cut is not repeated within its boot", () => {
  const driver = new Driver().ready();
  driver.turn("hello", "u1");
  driver.take({ type: "closed", tooBig: false });
  driver.session("b1");
  driver.answer("initialize", {});
  expect(driver.count("turn/start")).toBe(1);
  driver.notify(7, "turn/completed", { turn: { id: "u1", status: "completed" } });
  expect(driver.settled).toEqual(["completed"]);
});

test("after another boot the outcome is asked for with the same input id and read from history", () => {
  const driver = new Driver().ready();
  driver.turn("hello", "u1");
  const first = inputId(driver.last("turn/start"));
  driver.take({ type: "closed", tooBig: false });
  driver.session("b2");
  driver.answer("initialize", {});
  driver.answer("thread/resume", { thread: { id: "t1" } });
  expect(inputId(driver.last("turn/start"))).toBe(first);
  driver.answer("turn/start", { turn: { id: "u1", status: "completed" } });
  driver.answer("thread/read", {
    thread: {
      turns: [{ id: "u1", status: "completed", items: [{ type: "agentMessage", text: "done" }] }],
    },
  });
  expect(driver.shown).toContain("agent: done\n");
  expect(driver.settled).toEqual(["completed"]);
});

test("an app-server that restarted is asked again for the message under way", () => {
  const driver = new Driver().ready();
  driver.turn("hello", "u1");
  driver.frame({
    method: "argus/restarted",
    params: { boot: "b1", reason: "exit 1" },
    argusSeq: 3,
  });
  expect(driver.count("turn/start")).toBe(2);
  expect(driver.shown.at(-1)).toContain("exit 1");
});

test("a gap is told and the turn's end is looked up", () => {
  const driver = new Driver().ready();
  driver.turn("hello", "u1");
  driver.take({ type: "closed", tooBig: false });
  driver.session("b1");
  driver.frame({ method: "argus/gap", params: { from: 5, to: 9, boot: "b1" } });
  driver.answer("initialize", {});
  driver.answer("thread/resume", { thread: { id: "t1" } });
  expect(driver.shown.some((line) => line.includes("5–9"))).toBe(true);
  expect(driver.count("turn/start")).toBe(2);
  expect(driver.chat.phase).toBe("ready");
});

test("a notification that was seen before the cut is not shown again", () => {
  const driver = new Driver().ready();
  driver.notify(1, "item/agentMessage/delta", { itemId: "i", delta: "a" });
  driver.notify(1, "item/agentMessage/delta", { itemId: "i", delta: "a" });
  driver.notify(2, "item/agentMessage/delta", { itemId: "i", delta: "b" });
  expect(driver.shown.filter((line) => line.startsWith("agent"))).toEqual(["agent: a", "agent: b"]);
  expect(driver.chat.seq).toBe(2);
});

test("another thread's items are not shown", () => {
  const driver = new Driver().ready();
  driver.notify(1, "item/agentMessage/delta", { threadId: "other", itemId: "i", delta: "x" });
  expect(driver.shown.filter((line) => line.startsWith("agent"))).toEqual([]);
});

test("an approval is shown with command and reason and answered by its own id, also 0", () => {
  const driver = new Driver().ready();
  driver.frame({
    id: 0,
    method: "item/commandExecution/requestApproval",
    params: { threadId: "t1", command: "rm -rf build", reason: "to start over" },
  });
  expect(driver.chat.approvals.first).toEqual({
    id: 0,
    what: "run rm -rf build",
    reason: "to start over",
  });
  driver.take({ type: "answer", decision: "acceptForSession" });
  expect(driver.sent.at(-1)).toEqual({ id: 0, result: { decision: "acceptForSession" } });
  expect(driver.chat.approvals.first).toBeUndefined();
});

test("an approval that comes twice is one question, and one answered elsewhere is none", () => {
  const driver = new Driver().ready();
  const ask = { id: 3, method: "item/commandExecution/requestApproval", params: { command: "ls" } };
  driver.frame(ask);
  driver.frame(ask);
  expect(driver.others.filter((type) => type === "question")).toHaveLength(1);
  driver.notify(1, "serverRequest/resolved", { requestId: 3 });
  expect(driver.chat.approvals.first).toBeUndefined();
});

test("a file change is asked with the names of its files", () => {
  const driver = new Driver().ready();
  const changes = [{ path: "a.txt", kind: { type: "add" }, diff: "+a" }];
  driver.notify(1, "item/started", { item: { id: "f1", type: "fileChange", changes } });
  driver.frame({ id: 4, method: "item/fileChange/requestApproval", params: { itemId: "f1" } });
  expect(driver.chat.approvals.first?.what).toBe("change add a.txt");
});

test("a server request that nobody knows gets an error, not silence", () => {
  const driver = new Driver().ready();
  driver.frame({ id: 5, method: "attestation/generate", params: {} });
  expect(driver.sent.at(-1)).toMatchObject({ id: 5, error: { code: -32601 } });
  expect(driver.shown.at(-1)).toMatch(/^status: .*argus chat cannot answer/);
});

test("an interrupt ends the own turn; with none it means leaving", () => {
  const driver = new Driver().ready();
  driver.take({ type: "interrupt" });
  expect(driver.others).toContain("leave");
  driver.turn("go", "u1");
  driver.take({ type: "interrupt" });
  const asked = driver.last("turn/interrupt");
  expect(asked.params).toEqual({ threadId: "t1", turnId: "u1" });
  driver.frame({ id: asked.id, result: {} });
  // Its shell command would run on.
  const clean = driver.last("thread/backgroundTerminals/clean");
  expect(clean.params).toEqual({ threadId: "t1" });
  driver.frame({ id: clean.id, error: { code: -32600, message: "unknown variant" } });
  expect(driver.shown.filter((line) => line.startsWith("error"))).toEqual([]);
  driver.notify(1, "turn/completed", { turn: { id: "u1", status: "interrupted" } });
  expect(driver.settled).toEqual(["interrupted"]);
});

test("a turn's end that overtakes the answer to turn/start settles once", () => {
  const driver = new Driver().ready();
  driver.take({ type: "say", text: "quick" });
  driver.notify(1, "turn/started", { turn: { id: "u1" } });
  driver.notify(2, "turn/completed", { turn: { id: "u1", status: "completed" } });
  expect(driver.settled).toEqual([]);
  driver.answer("turn/start", { turn: { id: "u1", status: "inProgress" } });
  expect(driver.settled).toEqual(["completed"]);
  expect(driver.chat.outbox.settled).toBe(true);
});

test("a message that is too long is not repeated for ever", () => {
  const driver = new Driver().ready();
  driver.take({ type: "say", text: "huge" });
  driver.take({ type: "closed", tooBig: true });
  expect(driver.settled).toEqual(["failed"]);
  driver.session("b1");
  driver.answer("initialize", {});
  expect(driver.count("turn/start")).toBe(1);
});

test("/new starts a thread, but not under a running turn", () => {
  const driver = new Driver().ready();
  driver.turn("go", "u1");
  driver.take({ type: "newThread" });
  expect(driver.count("thread/start")).toBe(0);
  driver.notify(1, "turn/completed", { turn: { id: "u1", status: "completed" } });
  driver.take({ type: "newThread" });
  expect(driver.count("thread/start")).toBe(1);
});

test("a failed turn is told with its reason", () => {
  const driver = new Driver().ready();
  driver.turn("go", "u1");
  const error = { message: "quota exceeded" };
  driver.notify(1, "turn/completed", { turn: { id: "u1", status: "failed", error } });
  expect(driver.settled).toEqual(["failed"]);
  expect(driver.shown.at(-1)).toBe("error: the turn failed: quota exceeded");
});

test("of a refusal's JSON body only the words are shown", () => {
  const driver = new Driver().ready();
  driver.turn("go", "u1");
  const error = { message: JSON.stringify({ error: { message: "no key", code: null } }) };
  driver.notify(1, "turn/completed", { turn: { id: "u1", status: "failed", error } });
  expect(driver.shown.at(-1)).toBe("error: the turn failed: no key");
  driver.turn("again", "u2");
  const broken = { message: "{ not JSON" };
  driver.notify(2, "turn/completed", { turn: { id: "u2", status: "failed", error: broken } });
  expect(driver.shown.at(-1)).toBe("error: the turn failed: { not JSON");
});

test("a reason that was shown is not repeated by the turn that failed of it, but by the next one", () => {
  const driver = new Driver().ready();
  const error = { message: "quota exceeded" };
  driver.turn("go", "u1");
  driver.notify(1, "error", { error, willRetry: false });
  driver.notify(2, "turn/completed", { turn: { id: "u1", status: "failed", error } });
  const errors = driver.shown.filter((line) => line.startsWith("error"));
  expect(errors).toEqual(["error: quota exceeded", "error: the turn failed"]);
  driver.turn("again", "u2");
  driver.notify(3, "turn/completed", { turn: { id: "u2", status: "failed", error } });
  expect(driver.shown.at(-1)).toBe("error: the turn failed: quota exceeded");
});

test("another client's turn that won the race does not count as the answer to our message", () => {
  const driver = new Driver().ready();
  driver.take({ type: "say", text: "mine" });
  driver.notify(1, "turn/started", { turn: { id: "theirs" } });
  driver.refuse("turn/start", -32001, "busy");
  driver.notify(2, "turn/completed", { turn: { id: "theirs", status: "completed" } });
  expect(driver.settled).toEqual([]);
  expect(driver.last("turn/start").params).toMatchObject({ clientUserMessageId: "input-1" });
  expect(driver.count("turn/start")).toBe(2);
  driver.answer("turn/start", { turn: { id: "u1", status: "inProgress" } });
  driver.notify(3, "turn/completed", { turn: { id: "u1", status: "completed" } });
  expect(driver.settled).toEqual(["completed"]);
});

test.each(["before the cut", "in the replay after it"])(
  "a message that a cut left open is repeated although another's turn was seen %s",
  (when) => {
    const driver = new Driver().ready();
    const theirs = () => driver.notify(1, "turn/started", { turn: { id: "theirs" } });
    driver.take({ type: "say", text: "mine" });
    if (when === "before the cut") theirs();
    driver.take({ type: "closed", tooBig: false });
    driver.session("b1");
    if (when !== "before the cut") theirs();
    driver.answer("initialize", {});
    expect(driver.count("turn/start")).toBe(2);
    driver.refuse("turn/start", -32001, "busy");
    driver.notify(2, "turn/completed", { turn: { id: "theirs", status: "completed" } });
    expect(driver.settled).toEqual([]);
    expect(driver.count("turn/start")).toBe(3);
  },
);

test("/new waits also for a message whose turn is not known yet", () => {
  const driver = new Driver().ready();
  driver.take({ type: "say", text: "go" });
  driver.take({ type: "newThread" });
  expect(driver.count("thread/start")).toBe(0);
  driver.answer("turn/start", { turn: { id: "u1", status: "inProgress" } });
  driver.notify(1, "turn/completed", { turn: { id: "u1", status: "completed" } });
  expect(driver.settled).toEqual(["completed"]);
});

test("a thread is not given up because the app-server ended while it was resumed", () => {
  const driver = new Driver().ready();
  driver.take({ type: "say", text: "mine" });
  driver.take({ type: "closed", tooBig: false });
  driver.session("b2");
  driver.answer("initialize", {});
  driver.refuse("thread/resume", -32000, "the app-server was ended by SIGKILL");
  expect(driver.count("thread/start")).toBe(0);
  driver.take({ type: "retry" });
  driver.answer("thread/resume", { thread: { id: "t1" } });
  expect(driver.last("turn/start").params).toMatchObject({
    threadId: "t1",
    clientUserMessageId: "input-1",
  });
});

test("what another boot replays is shown", () => {
  const driver = new Driver().ready("b1");
  driver.notify(7, "item/agentMessage/delta", { itemId: "i", delta: "old" });
  driver.take({ type: "closed", tooBig: false });
  driver.session("b2", 2);
  driver.frame({ method: "argus/gap", params: { from: 8, to: null, boot: "b1" } });
  driver.notify(1, "item/agentMessage/delta", { itemId: "j", delta: "new" });
  expect(driver.shown).toContain("agent: new");
  expect(driver.shown.join("\n")).not.toMatch(/undefined/);
});

test("a steer of which nobody knows whether it arrived is never said again by itself", () => {
  const driver = new Driver().ready();
  driver.turn("go", "u1");
  driver.take({ type: "say", text: "and this" });
  driver.refuse("turn/steer", -32000, "The request was open then");
  driver.frame({ method: "argus/restarted", params: { boot: "b1", reason: "crash" }, argusSeq: 1 });
  driver.answer("turn/start", { turn: { id: "u1", status: "completed" } });
  driver.answer("thread/read", { thread: { turns: [{ id: "u1", status: "completed" }] } });
  expect(driver.shown.join("\n")).toMatch(/not known, say it again if not: and this/);
  expect(driver.count("turn/start")).toBe(2);
});

const ENSURE = "argus/thread/main/ensure";

/** Follows the session's conversation, which is t1. */
function following(): Driver {
  const driver = new Driver({ thread: "main" });
  driver.session("b1");
  driver.answer("initialize", {});
  driver.answer(ENSURE, { threadId: "t1", created: false });
  driver.answer("thread/resume", { thread: { id: "t1", preview: "before" } });
  return driver;
}
const moved = (driver: Driver, threadId: string | null) =>
  driver.frame({ method: "argus/thread/main/changed", params: { threadId } });
const threadOf = (driver: Driver) =>
  (driver.last("turn/start").params as { threadId: string }).threadId;

test("follows the session's conversation: what others and schedules start there is shown", () => {
  const driver = following();
  expect(driver.count("thread/list")).toBe(0);
  driver.notify(1, "turn/started", { turn: { id: "u1" } });
  driver.notify(2, "item/agentMessage/delta", { itemId: "i", delta: "good morning" });
  expect(driver.shown).toContain("agent: good morning");
});

test("a conversation that was just made is not resumed", () => {
  const driver = new Driver({ thread: "main" });
  driver.session("b1");
  driver.answer("initialize", {});
  driver.answer(ENSURE, { threadId: "t1", created: true });
  expect(driver.count("thread/resume")).toBe(0);
  driver.take({ type: "say", text: "hello" });
  expect(threadOf(driver)).toBe("t1");
});

test("goes where the conversation goes, after the turn of its own, and whatever runs in the old one", () => {
  const driver = following();
  driver.turn("one", "u1");
  moved(driver, "t2");
  driver.take({ type: "say", text: "two" });
  expect(driver.count(ENSURE)).toBe(1);
  driver.notify(1, "turn/completed", { turn: { id: "u1", status: "completed" } });
  driver.notify(2, "turn/started", { turn: { id: "u2" } });
  driver.answer(ENSURE, { threadId: "t2", created: false });
  driver.answer("thread/resume", { thread: { id: "t2" } });
  driver.take({ type: "say", text: "three" });
  expect(threadOf(driver)).toBe("t2");
});

test("/new begins the conversation anew for everybody, and asks once", () => {
  const driver = following();
  driver.take({ type: "newThread" });
  moved(driver, null);
  driver.answer("argus/thread/main/reset", { ok: true, threadId: null, former: "t1" });
  moved(driver, "t2");
  driver.answer(ENSURE, { threadId: "t2", created: true });
  driver.take({ type: "say", text: "hello" });
  expect(threadOf(driver)).toBe("t2");
  expect(driver.count(ENSURE)).toBe(2);
});

test("somebody else's new conversation is followed, also when it began during a cut", () => {
  const driver = following();
  moved(driver, null);
  driver.answer(ENSURE, { threadId: "t2", created: true });
  expect(driver.chat.threadId).toBe("t2");
  driver.take({ type: "closed", tooBig: false });
  driver.session("b1");
  driver.answer("initialize", {});
  driver.answer(ENSURE, { threadId: "t3", created: false });
  driver.answer("thread/resume", { thread: { id: "t3" } });
  expect(driver.chat.threadId).toBe("t3");
});

test("a conversation that the agent lost is begun anew; a gateway without one offers the last thread", () => {
  const lost = new Driver({ thread: "main" });
  lost.session("b1");
  lost.answer("initialize", {});
  lost.answer(ENSURE, { threadId: "t1", created: false });
  lost.refuse("thread/resume", -32600, "no rollout found");
  expect(lost.count("argus/thread/main/reset")).toBe(1);
  const old = new Driver({ thread: "main" });
  old.session("b1");
  old.answer("initialize", {});
  old.refuse(ENSURE, -32601, "Method not found");
  expect(old.count("thread/list")).toBe(1);
});

test("a message wakes a session that has no pod, once for each connection; without one nothing does", () => {
  const driver = new Driver({ thread: "main" });
  driver.session(null);
  expect(driver.count("argus/session/wake")).toBe(0);
  driver.take({ type: "say", text: "hello" });
  driver.take({ type: "say", text: "are you there?" });
  expect(driver.count("argus/session/wake")).toBe(1);
  driver.take({ type: "closed", tooBig: false });
  driver.session(null);
  expect(driver.count("argus/session/wake")).toBe(2);
});
