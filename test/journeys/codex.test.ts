import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type FakeModel, startFakeModel } from "../fakes/model.ts";
import { ArgusUp, argus } from "../support/argus-up.ts";
import { eventually } from "../support/eventually.ts";
import { killAll } from "../support/processes.ts";
import type { Message, WsClient } from "../support/ws-client.ts";

const session = (name: string, approvals: "never" | "untrusted") => `
apiVersion: argus.dev/v1alpha1
kind: ArgusSession
metadata: { name: ${name} }
spec: { approvals: ${approvals}, heartbeat: { intervalSeconds: 0 } }
`;

/** The real Codex in `argus up`, its model a server on loopback. */
describe("a session with the real Codex", () => {
  let model: FakeModel;
  let up: ArgusUp;

  beforeAll(async () => {
    model = await startFakeModel({ requireKey: "sk-test-model-key" });
    up = await ArgusUp.start({ env: modelEnvironment() });
    await apply("never");
    await apply("untrusted");
  });
  afterAll(async () => {
    await up?.destroy();
    await model?.close();
  });

  const modelEnvironment = () => ({
    ARGUS_MODEL_UPSTREAM: model.url,
    ARGUS_MODEL_KEY: "sk-test-model-key",
    ARGUS_MODEL: "mock-model",
  });

  async function apply(approvals: "never" | "untrusted"): Promise<void> {
    const name = `codex-${approvals}`;
    await up.kubectl(["apply", "-f", "-"], session(name, approvals));
    await up.kubectl(["wait", "--for=condition=Ready", `asess/${name}`, "--timeout=60s"]);
  }

  async function open(name: string): Promise<WsClient> {
    const client = await up.connect({ session: name });
    await client.initialize();
    return client;
  }

  async function newThread(client: WsClient): Promise<string> {
    const { thread } = await client.request("thread/start");
    return (thread as { id: string }).id;
  }

  async function startTurn(client: WsClient, threadId: string, text: string): Promise<string> {
    const { turn } = await client.request("turn/start", {
      threadId,
      clientUserMessageId: randomUUID(),
      input: [{ type: "text", text }],
    });
    return (turn as { id: string }).id;
  }

  const endOf = async (client: WsClient, turnId: string) =>
    ((await client.turnCompleted(turnId)).params?.turn as { status: string } | undefined)?.status;

  const itemsOf = (client: WsClient, turnId: string, type: string) =>
    client.received
      .filter((m) => m.method === "item/completed" && m.params?.turnId === turnId)
      .map((m) => m.params?.item as Record<string, unknown>)
      .filter((item) => item.type === type);

  test("a turn streams its text", async () => {
    const client = await open("codex-never");
    const turn = await startTurn(client, await newThread(client), "good morning");
    expect(await endOf(client, turn)).toBe("completed");
    expect(client.agentText(turn)).toContain("good morning");
    const deltas = client.received.filter((m) => m.method === "item/agentMessage/delta");
    expect(deltas.length).toBeGreaterThan(1);
    await client.close();
  });

  test("the key is added by the gateway and the pod holds none", async () => {
    expect(model.requests.length).toBeGreaterThan(0);
    const holders = up.find("app-server").map(({ pid }) => pid);
    expect(holders.length).toBeGreaterThan(0);
    const { readFileSync } = await import("node:fs");
    for (const pid of holders) {
      expect(readFileSync(`/proc/${pid}/environ`, "utf8")).not.toContain("sk-test-model-key");
    }
  });

  test("a message's turn has the context files once, and the tools of its session", async () => {
    const client = await open("codex-never");
    const first = model.requests.length;
    for (const text of ["look around", "tool: mcp__argus/session_status {}"]) {
      const { inputId } = await client.request("argus/input/enqueue", { text });
      await client.waitFor(
        `the end of ${text}`,
        ({ method, params }) => method === "argus/input/ended" && params?.id === inputId,
      );
    }
    const [asked, ...later] = model.requests.slice(first);
    const count = (request: unknown, text: string) =>
      JSON.stringify(request).split(text).length - 1;
    expect(count(asked?.body, "How to work in this place.")).toBe(1);
    for (const each of later) expect(count(each.body, "How to work in this place.")).toBe(1);
    expect(count(asked?.body, "session_status")).toBeGreaterThan(0);
    const last = model.requests.at(-1);
    expect(last?.outputs.join()).toContain('"sessionId":"codex-never"');
    await client.close();
  });

  test("a turn runs a shell command", async () => {
    const client = await open("codex-never");
    const turn = await startTurn(client, await newThread(client), "run: echo from-the-shell");
    expect(await endOf(client, turn)).toBe("completed");
    const [command] = itemsOf(client, turn, "commandExecution");
    expect(command).toMatchObject({ status: "completed", exitCode: 0 });
    expect(String(command?.aggregatedOutput)).toContain("from-the-shell");
    await client.close();
  });

  test.each([
    { decision: "accept", status: "completed" },
    { decision: "decline", status: "declined" },
  ])("an unknown command asks first: $decision", async ({ decision, status }) => {
    const client = await open("codex-untrusted");
    const name = `approval-${decision}`;
    const turn = await startTurn(client, await newThread(client), `run: touch ${name}`);
    const ask = await client.notification("item/commandExecution/requestApproval");
    expect(typeof ask.id).toBe("number");
    client.send({ id: ask.id, result: { decision } });
    const resolved = await client.notification("serverRequest/resolved");
    expect(resolved.params?.requestId).toBe(ask.id);
    expect(await endOf(client, turn)).toBe("completed");
    expect(itemsOf(client, turn, "commandExecution")[0]).toMatchObject({ status });
    await client.close();
  });

  test("an approval is offered again to the next client when its owner leaves", async () => {
    const first = await open("codex-untrusted");
    const thread = await newThread(first);
    await startTurn(first, thread, "run: touch offered-again");
    const asked = await first.notification("item/commandExecution/requestApproval");
    first.terminate();
    const second = await open("codex-untrusted");
    const again = await second.notification("item/commandExecution/requestApproval");
    expect(again.id).toBe(asked.id);
    second.send({ id: again.id, result: { decision: "accept" } });
    await second.notification("turn/completed");
    await second.close();
  });

  test("a running turn can be interrupted", async () => {
    const client = await open("codex-never");
    const threadId = await newThread(client);
    const turnId = await startTurn(client, threadId, "slow: 200");
    await client.notification("item/agentMessage/delta");
    await client.request("turn/interrupt", { threadId, turnId });
    expect(await endOf(client, turnId)).toBe("interrupted");
    await client.close();
  });

  test("argus chat ends the shell command of a turn that it interrupts", async () => {
    const chat = up.spawn([
      "chat",
      "codex-never",
      "--thread",
      "new",
      "--message",
      "run: sleep 4321",
    ]);
    const ended = once(chat, "close");
    await eventually("the command runs", () => up.find("sleep 4321").length > 0);
    chat.kill("SIGINT");
    await eventually("the command is gone", () => up.find("sleep 4321").length === 0);
    await ended;
  });

  test("a running turn can be steered", async () => {
    const client = await open("codex-never");
    const threadId = await newThread(client);
    const turnId = await startTurn(client, threadId, "slow: 200");
    await client.notification("item/agentMessage/delta");
    await client.request("turn/steer", {
      threadId,
      expectedTurnId: turnId,
      input: [{ type: "text", text: "now something short" }],
    });
    expect(await endOf(client, turnId)).toBe("completed");
    expect(client.agentText(turnId)).toContain("now something short");
    await client.close();
  });

  test("another client is told that the thread is busy and nothing is started", async () => {
    const owner = await open("codex-never");
    const other = await open("codex-never");
    const threadId = await newThread(owner);
    const turnId = await startTurn(owner, threadId, "slow: 200");
    await owner.notification("item/agentMessage/delta");
    const refused = await other.ask("turn/start", {
      threadId,
      input: [{ type: "text", text: "me too" }],
    });
    expect(refused.error).toMatchObject({ code: -32001, data: { threadId, turnId } });
    await owner.request("turn/interrupt", { threadId, turnId });
    await other.turnCompleted(turnId); // both see the end
    await owner.close();
    await other.close();
  });

  test("the same input id twice makes one turn", async () => {
    const client = await open("codex-never");
    const threadId = await newThread(client);
    const params = {
      threadId,
      clientUserMessageId: randomUUID(),
      input: [{ type: "text", text: "only once" }],
    };
    const first = (await client.request("turn/start", params)).turn as { id: string };
    await client.turnCompleted(first.id);
    const second = (await client.request("turn/start", params)).turn as { id: string };
    expect(second.id).toBe(first.id);
    const sent = model.requests.filter((r) => JSON.stringify(r.body).includes("only once"));
    expect(sent.length).toBe(1);
    await client.close();
  });

  test("argus chat gets an answer", async () => {
    const said = await argus([
      "chat",
      "codex-never",
      "--data",
      up.data,
      "--message",
      "from the chat",
    ]);
    expect(said.stdout).toContain("from the chat");
    expect(said.code).toBe(0);
  });

  /** A word said before is in what the model receives after: the conversation went on. */
  async function continues(threadId: string, word: string): Promise<void> {
    const client = await eventually("the session takes a client again", async () => {
      const next = await up.connect({ session: "codex-never" });
      const status = await next.waitFor(
        "a bridge",
        (m: Message) =>
          typeof m.params?.boot === "string" && /^argus\/(session|status)$/.test(m.method ?? ""),
      );
      return status ? next : undefined;
    });
    await client.initialize();
    await client.request("thread/resume", { threadId, excludeTurns: true });
    const said = `and after ${randomUUID()}`;
    const turn = await startTurn(client, threadId, said);
    expect(await endOf(client, turn)).toBe("completed");
    const request = model.requests.find((r) => JSON.stringify(r.body).includes(said));
    expect(JSON.stringify(request?.body)).toContain(word);
    await client.close();
  }

  async function rememberedThread(): Promise<{ threadId: string; word: string }> {
    const client = await open("codex-never");
    const threadId = await newThread(client);
    const word = `remember-${randomUUID()}`;
    await endOf(client, await startTurn(client, threadId, word));
    await client.close();
    return { threadId, word };
  }

  test.each(["gateway", "controller", "bridge"])(
    "the thread continues after kill -9 of the %s",
    async (part) => {
      const { threadId, word } = await rememberedThread();
      const victims = up.find(`argus.mjs ${part}`);
      expect(victims.length).toBeGreaterThan(0);
      killAll(victims);
      await continues(threadId, word);
    },
  );

  test("the thread continues after kill -9 of everything", async () => {
    const { threadId, word } = await rememberedThread();
    up.killAll();
    up = await ArgusUp.start({ data: up.data, env: modelEnvironment() });
    await continues(threadId, word);
  });
});
