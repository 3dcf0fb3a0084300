import { once } from "node:events";
import {
  chmodSync,
  constants,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer, type IncomingHttpHeaders, request, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { silentLogger } from "#lib/logger.ts";
import { prepareAppServer } from "#runtime/app-server-command.ts";
import { type Loopback, startLoopback } from "#runtime/loopback.ts";
import { codexBinary } from "../fakes/codex.ts";
import { type FakeModel, startFakeModel } from "../fakes/model.ts";
import { StdioAppServer } from "../support/stdio-app-server.ts";

const TOKEN = "token-of-the-pod";

/** Passes `/openai/v1/…` on to the model, as the gateway does; keeps the headers that arrived. */
class Gateway {
  readonly seen: IncomingHttpHeaders[] = [];
  #server: Server | undefined;

  async listen(model: string, port = 0): Promise<number> {
    const server = createServer((incoming, response) => {
      if (incoming.url?.startsWith("/mcp")) {
        response.writeHead(404).end();
        return;
      }
      this.seen.push(incoming.headers);
      const path = (incoming.url ?? "").replace(/^\/openai/, "");
      const { method, headers } = incoming;
      const sent = request(new URL(path, model), { method, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      });
      sent.on("error", () => response.destroy());
      response.on("close", () => sent.destroy());
      incoming.pipe(sent);
    });
    this.#server = server;
    server.listen(port, "127.0.0.1");
    await once(server, "listening");
    return (server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    const server = this.#server;
    if (!server?.listening) return;
    server.close();
    server.closeAllConnections();
    await once(server, "close");
  }
}

/** The real Codex with the config that the bridge writes, through the loopback port, a gateway and a model on loopback. */
describe("the real Codex with our config", () => {
  let home: string;
  let model: FakeModel;
  let gateway: Gateway;
  let gatewayPort: number;
  let stop: AbortController;
  let loopback: Loopback;
  let codex: StdioAppServer | undefined;

  beforeEach(async () => {
    home = mkdtempSync(join(tmpdir(), "argus-codex-"));
    model = await startFakeModel({ requireKey: TOKEN });
    gateway = new Gateway();
    gatewayPort = await gateway.listen(model.url);
    writeFileSync(join(home, "token"), `${TOKEN}\n`);
    stop = new AbortController();
    loopback = await open();
  });
  afterEach(async () => {
    await codex?.close();
    codex = undefined;
    stop.abort();
    await loopback.closed;
    await gateway.close();
    await model.close();
    rmSync(home, { recursive: true, force: true });
  });

  const open = (holdMs?: number) =>
    startLoopback(
      {
        gatewayUrl: `http://127.0.0.1:${gatewayPort}`,
        tokenFile: join(home, "token"),
        logger: silentLogger(),
        ...(holdMs === undefined ? {} : { holdMs }),
      },
      stop.signal,
    );

  async function start(path = dirname(codexBinary())): Promise<StdioAppServer> {
    const { command, env, cwd } = await prepareAppServer({
      runtime: {
        command: ["codex", "app-server", "--strict-config"],
        protocol: "codex",
        image: "image",
        approvals: "never",
        workingDir: "",
        parkAfterSeconds: 0,
        pids: 0,
        memoryBytes: 0,
        model: "fake-model",
      },
      home,
      workspace: join(home, "workspace"),
      temporary: join(home, "tmp"),
      agentEnv: { PATH: `${path}:/usr/bin:/bin` },
      loopback,
    });
    codex = new StdioAppServer({ command, env, cwd, timeoutMs: 50_000 });
    await codex.initialize();
    return codex;
  }

  async function newThread(server: StdioAppServer, policy: object): Promise<string> {
    const { thread } = await server.request("thread/start", policy);
    return (thread as { id: string }).id;
  }

  async function startTurn(server: StdioAppServer, threadId: string, text: string) {
    const input = [{ type: "text", text, text_elements: [] }];
    const { turn } = await server.request("turn/start", { threadId, input });
    return (turn as { id: string }).id;
  }

  const endOf = async (server: StdioAppServer, turnId: string) =>
    (await server.turnCompleted(turnId)).params?.turn as Record<string, unknown>;

  test("the strict parser takes it and a turn arrives with the pod's token and without the secret", async () => {
    const server = await start();
    const thread = await newThread(server, { sandbox: "read-only", approvalPolicy: "never" });
    const turn = await startTurn(server, thread, "good morning");
    expect(await endOf(server, turn)).toMatchObject({ status: "completed" });
    expect(gateway.seen.length).toBe(1);
    expect(gateway.seen[0]).toMatchObject({ authorization: `Bearer ${TOKEN}` });
    expect(JSON.stringify(gateway.seen)).not.toContain(loopback.secret);
    expect(JSON.stringify(server.received)).toContain("You said: good morning");
  });

  test("a turn outlives a gateway that dies in the middle of the stream and comes back", async () => {
    const server = await start();
    const thread = await newThread(server, { sandbox: "read-only", approvalPolicy: "never" });
    const turn = await startTurn(server, thread, "slow: 15");
    await server.waitFor("a delta", (m) => m.method === "item/agentMessage/delta");
    await gateway.close();
    await server.waitFor("the retry", (m) => m.method === "error");
    await gateway.listen(model.url, gatewayPort);
    expect(await endOf(server, turn)).toMatchObject({ status: "completed", error: null });
    expect(model.requests.length).toBe(2);
  });

  test("a gateway that stays away ends the turn with a reason", async () => {
    await gateway.close();
    loopback = await open(50);
    const server = await start();
    const thread = await newThread(server, { sandbox: "read-only", approvalPolicy: "never" });
    const turn = await endOf(server, await startTurn(server, thread, "anybody there?"));
    expect(turn).toMatchObject({ status: "failed" });
    expect(JSON.stringify(turn.error)).toContain("503");
  });

  test("without a sandbox a command that a person allowed runs, in a read-only thread that asks", async () => {
    const broken = join(home, "broken");
    mkdirSync(broken);
    writeFileSync(join(broken, "bwrap"), "#!/bin/sh\nexit 1\n");
    chmodSync(join(broken, "bwrap"), 0o755);
    // Codex finds the bwrap of its package by its own place: here it stands alone.
    const alone = join(home, "alone");
    mkdirSync(alone);
    copyFileSync(codexBinary(), join(alone, "codex"), constants.COPYFILE_FICLONE);
    const server = await start(`${broken}:${alone}`);
    const thread = await newThread(server, { sandbox: "read-only", approvalPolicy: "untrusted" });
    const turn = await startTurn(server, thread, "run: touch allowed && echo done-$((40+2))");
    const ask = await server.waitFor("the question", (m) => m.id === 0 && m.method !== undefined);
    expect(ask.method).toBe("item/commandExecution/requestApproval");
    server.send({ id: 0, result: { decision: "accept" } });
    expect(await endOf(server, turn)).toMatchObject({ status: "completed" });
    expect(JSON.stringify(server.received)).toContain("done-42");
  });
});
