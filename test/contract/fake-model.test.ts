import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { codexBinary } from "#test/fakes/codex.ts";
import { type FakeModel, startFakeModel } from "#test/fakes/model.ts";
import { StdioAppServer } from "#test/support/stdio-app-server.ts";
import type { Message } from "#test/support/ws-client.ts";

const KEY = "key-of-the-fake";

function configToml(url: string, model: string): string {
  return `model = "${model}"
model_provider = "fake"
approval_policy = "on-request"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
web_search = "disabled"
[features]
plugins = false
apps = false
remote_plugin = false
shell_snapshot = false
[model_providers.fake]
name = "fake"
base_url = "${url}"
wire_api = "responses"
requires_openai_auth = false
supports_websockets = false
request_max_retries = 0
stream_max_retries = 0
env_key = "FAKE_KEY"
`;
}

/** The real binary against the fake: whatever it does not accept, no test of ours may rely on. */
describe.each(["fake-model", "gpt-6-luna"])("codex with the model %s", (name) => {
  let folder: string;
  let model: FakeModel;
  let codex: StdioAppServer;
  let threadId: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "argus-fake-model-"));
    const home = join(folder, "codex");
    const workspace = join(folder, "workspace");
    await Promise.all([mkdir(home), mkdir(workspace)]);
    model = await startFakeModel({ requireKey: KEY });
    await writeFile(join(home, "config.toml"), configToml(model.url, name));
    codex = new StdioAppServer({
      command: [codexBinary(), "app-server"],
      env: {
        PATH: process.env.PATH ?? "/usr/bin:/bin",
        CODEX_HOME: home,
        HOME: folder,
        FAKE_KEY: KEY,
      },
      cwd: workspace,
    });
    await codex.initialize();
    threadId = await startThread("danger-full-access");
  });

  afterEach(async () => {
    await codex.close();
    await model.close();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  async function startThread(sandbox: string): Promise<string> {
    const { thread } = await codex.request("thread/start", { sandbox });
    return (thread as { id: string }).id;
  }

  async function startTurn(words: string): Promise<string> {
    const { turn } = await codex.request("turn/start", {
      threadId,
      input: [{ type: "text", text: words, text_elements: [] }],
    });
    return (turn as { id: string }).id;
  }

  async function endOf(turnId: string): Promise<unknown> {
    const { params } = await codex.turnCompleted(turnId);
    return (params?.turn as { status?: string } | undefined)?.status;
  }

  const items = (turnId: string, type: string) =>
    codex.received
      .filter((m) => m.method === "item/completed" && m.params?.turnId === turnId)
      .map((m) => m.params?.item as Record<string, unknown>)
      .filter((item) => item.type === type);

  const deltas = (turnId: string) =>
    codex.received.filter(
      (m) => m.method === "item/agentMessage/delta" && m.params?.turnId === turnId,
    );

  test("streams a message", async () => {
    const turn = await startTurn("hello out there");
    expect(await endOf(turn)).toBe("completed");
    expect(items(turn, "agentMessage")[0]?.text).toBe("You said: hello out there");
    expect(deltas(turn).length).toBeGreaterThan(1);
  });

  test("runs a command and says its output", async () => {
    const turn = await startTurn("run: echo one-$((1+1))");
    expect(await endOf(turn)).toBe("completed");
    expect(items(turn, "commandExecution")[0]).toMatchObject({ status: "completed", exitCode: 0 });
    expect(items(turn, "agentMessage")[0]?.text).toContain("one-2");
  });

  test("an interrupt closes the request", async () => {
    const turn = await startTurn("stall");
    await model.waitFor(({ words }) => words === "stall");
    await codex.waitFor("turn/started", (m) => m.method === "turn/started");
    await codex.request("turn/interrupt", { threadId, turnId: turn });
    expect(await endOf(turn)).toBe("interrupted");
    const request = await model.waitFor(({ closedEarly }) => closedEarly);
    expect(request.words).toBe("stall");
  });

  test("an escalation asks first", async () => {
    // Without a sandbox there is nothing to escalate from.
    threadId = await startThread("read-only");
    const turn = await startTurn("escalate: echo outside");
    const isApproval = (m: Message) => m.method === "item/commandExecution/requestApproval";
    const approval = await codex.waitFor("the approval", isApproval);
    codex.send({ id: approval.id, result: { decision: "accept" } });
    expect(await endOf(turn)).toBe("completed");
    expect(items(turn, "agentMessage")[0]?.text).toContain("outside");
  });

  test("fails as told", async () => {
    expect(await endOf(await startTurn("fail: 500"))).toBe("failed");
    expect(await endOf(await startTurn("fail: rate_limit_exceeded"))).toBe("failed");
    expect(await endOf(await startTurn("cut"))).toBe("failed");
    expect(model.requests.map(({ closedEarly }) => closedEarly)).toEqual([false, false, false]);
  });

  test("thinks, and answers at length", async () => {
    const turn = await startTurn("reasoning: of rain");
    expect(await endOf(turn)).toBe("completed");
    expect(items(turn, "reasoning")[0]?.summary).toEqual(["Thinking about of rain."]);
    const big = await startTurn("big: 256");
    expect(await endOf(big)).toBe("completed");
    expect(items(big, "agentMessage")[0]?.text).toHaveLength(256 * 1024);
  });

  test("a steer is a second request with the new words", async () => {
    const turn = await startTurn("slow: 300");
    await codex.waitFor("a delta", (m) => m.method === "item/agentMessage/delta");
    const input = [{ type: "text", text: "changed my mind", text_elements: [] }];
    await codex.request("turn/steer", { threadId, expectedTurnId: turn, input });
    const steered = await model.waitFor(({ words }) => words === "changed my mind");
    expect(steered.closedEarly).toBe(false);
    expect(await endOf(turn)).toBe("completed");
  });
});

test("a request without the key is refused", async () => {
  const model = await startFakeModel({ requireKey: KEY });
  try {
    const answer = await fetch(`${model.url}/responses`, { method: "POST", body: "{}" });
    expect(answer.status).toBe(401);
    expect(await answer.json()).toMatchObject({ error: { code: "invalid_api_key" } });
  } finally {
    await model.close();
  }
});
