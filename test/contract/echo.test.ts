import { randomUUID } from "node:crypto";
import { appendFile, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { StdioAppServer } from "../support/stdio-app-server.ts";
import type { Message } from "../support/ws-client.ts";

/** The built-in echo as a real child process, spoken to as Codex is. */
describe("the built-in echo", () => {
  let home: string;
  let echo: StdioAppServer;

  const start = async () => {
    const runner = join(import.meta.dirname, "../support/run-echo.ts");
    const server = new StdioAppServer({
      command: [process.execPath, runner, home],
      env: {},
      cwd: home,
    });
    await server.initialize();
    return server;
  };

  beforeEach(async () => {
    home = await mkdtemp(join(tmpdir(), "argus-echo-"));
    echo = await start();
  });
  afterEach(async () => {
    await echo.close();
    await rm(home, { recursive: true, force: true });
  });

  const input = (text: string) => [{ type: "text", text, text_elements: [] }];

  async function newThread(params = {}): Promise<string> {
    const { thread } = await echo.request("thread/start", { cwd: home, ...params });
    return (thread as { id: string }).id;
  }

  async function startTurn(threadId: string, text: string, more = {}): Promise<string> {
    const { turn } = await echo.request("turn/start", { threadId, input: input(text), ...more });
    return (turn as { id: string }).id;
  }

  const ended = async (turnId: string) =>
    (await echo.turnCompleted(turnId)).params?.turn as Record<string, unknown>;

  async function say(threadId: string, text: string, more = {}): Promise<string> {
    const turnId = await startTurn(threadId, text, more);
    expect((await ended(turnId)).status).toBe("completed");
    return turnId;
  }

  const of = (turnId: string, method: string) =>
    echo.received.filter((m) => m.method === method && m.params?.turnId === turnId);
  const items = (turnId: string, type: string) =>
    of(turnId, "item/completed")
      .map((m) => m.params?.item as Record<string, unknown>)
      .filter((item) => item.type === type);
  const textOf = (turnId: string) => items(turnId, "agentMessage").map(({ text }) => text);
  const delta = (turnId: string) =>
    echo.waitFor(
      "a delta",
      (m) => m.method === "item/agentMessage/delta" && m.params?.turnId === turnId,
    );

  const history = async (threadId: string) =>
    (await echo.request("thread/turns/list", { threadId, itemsView: "full", sortDirection: "asc" }))
      .data as { id: string; status: string; items: Record<string, unknown>[] }[];

  test("repeats a message word by word, says first that it is an echo, in the order of Codex", async () => {
    const threadId = await newThread();
    const turnId = await say(threadId, "good morning", { clientUserMessageId: "in-1" });
    expect(textOf(turnId)).toEqual([
      "(This is Argus's built-in echo; no model is asked.) echo: good morning",
    ]);
    const deltas = of(turnId, "item/agentMessage/delta").map((m) => m.params?.delta);
    expect(deltas.slice(1)).toEqual(["echo: ", "good ", "morning"]);
    const about = (m: Message) =>
      m.params?.turnId === turnId || (m.params?.turn as { id?: string })?.id === turnId;
    const order = echo.received
      .filter((m) => about(m) || m.method === "thread/status/changed")
      .map((m) => m.method)
      .filter((method) => method !== "item/agentMessage/delta");
    expect(order).toEqual([
      "thread/status/changed",
      "turn/started",
      "item/started",
      "item/completed",
      "item/started",
      "item/completed",
      "thread/status/changed",
      "turn/completed",
    ]);
    expect(textOf(await say(threadId, "again"))).toEqual(["echo: again"]);
  });

  test("answers a start before it tells of the turn", async () => {
    const turnId = await startTurn(await newThread(), "hello");
    await ended(turnId);
    const answer = echo.received.findIndex((m) => JSON.stringify(m.result ?? {}).includes(turnId));
    const started = echo.received.findIndex((m) => m.method === "turn/started");
    expect(answer).toBeGreaterThan(0);
    expect(answer).toBeLessThan(started);
  });

  test.each([
    { decision: "accept", status: "completed", turn: "completed", says: "you allowed it" },
    { decision: "acceptForSession", status: "completed", turn: "completed", says: "you allowed" },
    { decision: "decline", status: "declined", turn: "completed", says: "you declined it" },
    { decision: "cancel", status: "declined", turn: "interrupted", says: undefined },
    { decision: "perhaps", status: "failed", turn: "completed", says: "request failed" },
  ])("asks before a command: $decision", async ({ decision, status, turn, says }) => {
    const turnId = await startTurn(await newThread(), "/approve rm -rf /it's");
    const ask = await echo.waitFor("an approval", (m) => m.id === 0 && m.method !== undefined);
    expect(ask.method).toBe("item/commandExecution/requestApproval");
    expect(ask.params).toMatchObject({ turnId, command: `/bin/bash -lc 'rm -rf /it'\\''s'` });
    echo.send({ id: 0, result: { decision } });
    expect((await ended(turnId)).status).toBe(turn);
    expect(items(turnId, "commandExecution")[0]).toMatchObject({ status });
    expect(textOf(turnId)).toEqual(says ? [expect.stringContaining(says)] : []);
    const resolved = echo.received.find((m) => m.method === "serverRequest/resolved");
    expect(resolved?.params).toMatchObject({ requestId: 0 });
  });

  test("offers an open approval again on resume with the same id, and an interrupt settles it", async () => {
    const threadId = await newThread();
    const turnId = await startTurn(threadId, "/approve");
    await echo.waitFor("an approval", (m) => m.id === 0 && m.method !== undefined);
    await echo.request("thread/resume", { threadId, excludeTurns: true });
    const asks = () => echo.received.filter((m) => m.method?.endsWith("requestApproval"));
    await echo.waitFor("it again", () => asks().length === 2);
    expect(asks().map(({ id }) => id)).toEqual([0, 0]);
    await echo.request("turn/interrupt", { threadId, turnId });
    expect((await ended(turnId)).status).toBe("interrupted");
    echo.send({ id: 0, result: { decision: "accept" } });
    expect(await say(threadId, "still here")).toBeDefined();
  });

  test("a slow answer can be interrupted; its text is not kept", async () => {
    const threadId = await newThread();
    const turnId = await startTurn(threadId, "/slow 600");
    await delta(turnId);
    await echo.request("turn/interrupt", { threadId, turnId });
    expect((await ended(turnId)).status).toBe("interrupted");
    const [turn] = await history(threadId);
    expect(turn?.status).toBe("interrupted");
    expect(turn?.items.map(({ type }) => type)).toEqual(["userMessage"]);
  });

  test.each(["turn/steer", "turn/start"])("a slow answer can be steered by %s", async (method) => {
    const threadId = await newThread();
    const turnId = await startTurn(threadId, "/slow 600");
    await delta(turnId);
    const answer = await echo.request(method, {
      threadId,
      expectedTurnId: turnId,
      clientUserMessageId: "in-2",
      input: input("quickly"),
    });
    expect(answer.turnId ?? (answer.turn as { id: string }).id).toBe(turnId);
    expect((await ended(turnId)).status).toBe("completed");
    expect(textOf(turnId)).toEqual([expect.stringContaining("echo: quickly")]);
    expect(items(turnId, "userMessage").map(({ clientId }) => clientId)).toEqual([null, "in-2"]);
  });

  test("a message during a question waits for its answer", async () => {
    const threadId = await newThread();
    const turnId = await startTurn(threadId, "/approve");
    await echo.waitFor("an approval", (m) => m.id === 0 && m.method !== undefined);
    expect(await startTurn(threadId, "meanwhile")).toBe(turnId);
    echo.send({ id: 0, result: { decision: "accept" } });
    await ended(turnId);
    expect(textOf(turnId)).toEqual([expect.stringContaining("echo: meanwhile")]);
  });

  test("a failure is told as Codex tells it, and the next turn works", async () => {
    const threadId = await newThread();
    const turnId = await startTurn(threadId, "/fail no luck");
    expect(await ended(turnId)).toMatchObject({ status: "failed", error: { message: "no luck" } });
    expect(of(turnId, "error")[0]?.params).toMatchObject({ willRetry: false });
    await say(threadId, "next");
  });

  test("a restart finds the threads, their names and who wrote what", async () => {
    const threadId = await newThread();
    const first = await say(threadId, "remember me", { clientUserMessageId: "in-7" });
    await echo.request("thread/name/set", { threadId, name: "Memory" });
    await echo.close();
    echo = await start();
    await expect(startTurn(threadId, "too early")).rejects.toThrow(`thread not found: ${threadId}`);
    const { thread } = await echo.request("thread/read", { threadId, includeTurns: true });
    expect(thread).toMatchObject({
      name: "Memory",
      preview: "remember me",
      status: { type: "notLoaded" },
    });
    const { data } = await echo.request("thread/list");
    expect(data).toMatchObject([{ id: threadId, name: "Memory" }]);
    await echo.request("thread/resume", { threadId });
    expect(textOf(await say(threadId, "go on"))).toEqual(["echo: go on"]);
    const turns = await history(threadId);
    expect(turns.map(({ id }) => id)[0]).toBe(first);
    expect(turns[0]?.items[0]).toMatchObject({ type: "userMessage", clientId: "in-7" });
    expect(turns.map(({ status }) => status)).toEqual(["completed", "completed"]);
  });

  test("a turn cut by SIGKILL is interrupted, a torn line is dropped, the thread goes on", async () => {
    const threadId = await newThread();
    await startTurn(threadId, "/slow 600", { clientUserMessageId: "in-9" });
    await echo.kill("SIGKILL");
    const folder = join(home, ".argus-echo", "threads");
    const [file = ""] = await readdir(folder);
    await appendFile(join(folder, file), '{"record":"item","turnId":"half');
    echo = await start();
    await echo.request("thread/resume", { threadId, excludeTurns: true });
    await say(threadId, "after");
    const turns = await history(threadId);
    expect(turns.map(({ status }) => status)).toEqual(["interrupted", "completed"]);
    expect(turns[0]?.items[0]).toMatchObject({ clientId: "in-9" });
    const lines = (await readFile(join(folder, file), "utf8")).trimEnd().split("\n");
    expect(() => lines.map((line) => JSON.parse(line) as unknown)).not.toThrow();
  });

  test("an accepted turn is in the history at once", async () => {
    const threadId = await newThread();
    const turnId = await startTurn(threadId, "/slow 600", { clientUserMessageId: "in-1" });
    expect((await history(threadId))[0]).toMatchObject({ id: turnId, status: "inProgress" });
  });

  test("archives, lists, pages and reports what is loaded", async () => {
    const [one, two] = [await newThread(), await newThread()];
    for (const id of [one, two]) await say(id, "hi");
    await say(two, "again");
    const page = await echo.request("thread/turns/list", { threadId: two, limit: 1 });
    expect((page.data as unknown[]).length).toBe(1);
    const rest = await echo.request("thread/turns/list", {
      threadId: two,
      cursor: page.nextCursor,
    });
    expect((rest.data as unknown[]).length).toBe(1);
    expect(rest.nextCursor).toBeNull();
    const loaded = await echo.request("thread/loaded/list");
    expect(loaded.data).toEqual([one, two]);
    await echo.request("thread/archive", { threadId: one });
    const listed = (await echo.request("thread/list")).data as { id: string }[];
    expect(listed.map(({ id }) => id)).toEqual([two]);
    const archived = (await echo.request("thread/list", { archived: true })).data as object[];
    expect(archived).toMatchObject([{ id: one }]);
    const { data } = await echo.request("thread/items/list", { threadId: two });
    expect((data as { item: { type: string } }[]).map(({ item }) => item.type)).toEqual([
      "userMessage",
      "agentMessage",
      "userMessage",
      "agentMessage",
    ]);
    expect(await echo.request("model/list")).toMatchObject({ data: [{ id: "echo" }] });
    expect(await echo.request("thread/backgroundTerminals/list", { threadId: two })).toEqual({
      data: [],
      nextCursor: null,
    });
  });

  const nobody = "019ac000-0000-7000-8000-000000000000";
  test.each([
    ["foo/bar", {}, "Invalid request: unknown variant `foo/bar`, expected one of `initialize`"],
    ["initialize", { clientInfo: { name: "x" } }, "Already initialized"],
    ["thread/read", {}, "Invalid request: missing field `threadId`"],
    ["thread/read", { threadId: 1 }, "Invalid request: "],
    ["thread/read", { threadId: nobody }, `thread not loaded: ${nobody}`],
    ["thread/resume", { threadId: nobody }, `no rollout found for thread id ${nobody}`],
    ["turn/start", { threadId: nobody, input: [] }, `thread not found: ${nobody}`],
    ["turn/interrupt", { threadId: nobody, turnId: "x" }, "no active turn to interrupt"],
    ["turn/steer", { threadId: nobody, expectedTurnId: "x", input: [] }, "no active turn to steer"],
  ])("refuses %s %j as Codex words it", async (method, params, message) => {
    const id = randomUUID();
    echo.send({ id, method, params });
    const { error } = await echo.waitFor("the refusal", (m) => m.id === id);
    expect(error?.code).toBe(-32600);
    expect(error?.message.slice(0, message.length)).toBe(message);
  });

  test("refuses a steer of another turn and a text that is too long", async () => {
    const threadId = await newThread();
    await startTurn(threadId, "/slow 600");
    await expect(
      echo.request("turn/steer", { threadId, expectedTurnId: "x", input: input("y") }),
    ).rejects.toThrow(/expected active turn id .x. but found/);
    const other = await newThread();
    echo.send({
      id: "big",
      method: "turn/start",
      params: { threadId: other, input: input("x".repeat(1_048_577)) },
    });
    const { error } = await echo.waitFor("the refusal", (m) => m.id === "big");
    expect(error).toMatchObject({ code: -32602, data: { input_error_code: "input_too_large" } });
  });

  test("bad lines get no answer and harm nothing", async () => {
    for (const line of ["", "{", "[]", "7", '{"x":1}', '{"id":99,"result":{}}']) echo.sendRaw(line);
    const threadId = await newThread();
    await say(threadId, "sep\u2028arated 🎉");
    expect(echo.received.filter((m) => m.error)).toEqual([]);
    expect(textOf(await say(threadId, "sep\u2028arated 🎉"))).toEqual(["echo: sep\u2028arated 🎉"]);
  });

  test("ends when its input ends, also in the middle of a turn", async () => {
    await startTurn(await newThread(), "/slow 600");
    await echo.close();
    expect(echo.exitCode).toBe(0);
  });
});
