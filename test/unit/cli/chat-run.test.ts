import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { PassThrough } from "node:stream";
import { afterEach, expect, test } from "vitest";
import { type WebSocket, WebSocketServer } from "ws";
import { type ChatRun, runChat } from "#cli/chat/run.ts";
import { systemClock } from "#lib/clock.ts";
import { eventually } from "../../support/eventually.ts";
import { ManualClock } from "../../support/manual-clock.ts";

interface Frame {
  id?: number;
  method?: string;
  params?: { threadId?: string; input?: { text: string }[]; clientUserMessageId?: string };
  result?: unknown;
}

/** A gateway with one session that echoes; `cut` closes a connection after that many turn/starts. */
class FakeGateway {
  #server: WebSocketServer | undefined;
  readonly queries: URLSearchParams[] = [];
  readonly inputs: string[] = [];
  readonly answers: unknown[] = [];
  readonly interrupts: string[] = [];
  #seq = 0;
  #turns = 0;
  /** Turn ids by input id: the ledger. */
  readonly #ledger = new Map<string, string>();
  cutAfterTurnStart = 0;
  ask = false;
  slow = false;
  refuse: { code: number; reason: string } | undefined;
  /** The session is there, but what it waits for never comes. */
  stuck = "";
  /** Resolves when a slow turn runs, as its client knows. */
  readonly turnStarted = Promise.withResolvers<void>();

  async start(): Promise<string> {
    const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
    this.#server = server;
    server.on("connection", (socket, request) => {
      this.queries.push(new URL(request.url ?? "/", "http://x").searchParams);
      if (this.refuse) return socket.close(this.refuse.code, this.refuse.reason);
      this.#greet(socket);
    });
    await once(server, "listening");
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    for (const socket of server.clients) socket.terminate();
    server.close();
    await once(server, "close");
  }

  #greet(socket: WebSocket): void {
    const params = { id: "main", mode: "kubernetes", attached: true, created: false, echo: true };
    if (this.stuck) {
      const waits = { state: "waiting", message: this.stuck };
      socket.send(JSON.stringify({ method: "argus/session", params }));
      return socket.send(JSON.stringify({ method: "argus/status", params: waits }));
    }
    socket.send(
      JSON.stringify({
        method: "argus/session",
        params: { ...params, boot: "b1", seq: this.#seq },
      }),
    );
    socket.on("message", (data: Buffer) =>
      this.#frame(socket, JSON.parse(data.toString()) as Frame),
    );
  }

  #frame(socket: WebSocket, frame: Frame): void {
    if (frame.method === undefined) {
      this.answers.push(frame.result);
      return this.#finish(socket, `u${this.#turns}`, "approved");
    }
    const answer = (result: unknown) => socket.send(JSON.stringify({ id: frame.id, result }));
    switch (frame.method) {
      case "initialize":
        return answer({});
      case "thread/list":
        return answer({ data: [] });
      case "thread/start":
      case "thread/resume":
        return answer({ thread: { id: "t1" } });
      case "turn/interrupt":
        this.interrupts.push("interrupt");
        answer({});
        return this.#complete(socket, `u${this.#turns}`, "interrupted");
      case "turn/start":
        return this.#turn(socket, frame, answer);
    }
  }

  #turn(socket: WebSocket, { params }: Frame, answer: (result: unknown) => void): void {
    const input = params?.clientUserMessageId ?? "";
    const text = params?.input?.[0]?.text ?? "";
    const known = this.#ledger.get(input);
    const turn = known ?? `u${++this.#turns}`;
    if (!known) this.inputs.push(text);
    this.#ledger.set(input, turn);
    if (this.cutAfterTurnStart-- > 0) return socket.terminate();
    answer({ turn: { id: turn, status: "inProgress" } });
    // The client answers a ping after it has read everything before it.
    if (this.slow) {
      socket.once("pong", () => this.turnStarted.resolve());
      return socket.ping();
    }
    if (this.ask) {
      const params = { threadId: "t1", command: "ls", reason: "to look" };
      const method = "item/commandExecution/requestApproval";
      return socket.send(JSON.stringify({ id: 0, method, params }));
    }
    this.#finish(socket, turn, `echo: ${text}`);
  }

  #finish(socket: WebSocket, turn: string, text: string): void {
    this.#notify(socket, "item/agentMessage/delta", { itemId: turn, delta: text });
    this.#complete(socket, turn, text.includes("fail") ? "failed" : "completed");
  }

  #complete(socket: WebSocket, turn: string, status: string): void {
    this.#notify(socket, "turn/completed", { turn: { id: turn, status } });
  }

  #notify(socket: WebSocket, method: string, params: object): void {
    const line = { method, params: { threadId: "t1", ...params }, argusSeq: ++this.#seq };
    socket.send(JSON.stringify(line));
  }
}

let gateway = new FakeGateway();
afterEach(async () => {
  await gateway.stop();
  gateway = new FakeGateway();
});

interface Talk {
  code: Promise<number>;
  input: PassThrough;
  out: () => string;
  notes: () => string;
  interrupt: () => void;
}

async function talk(over: Partial<ChatRun>): Promise<Talk> {
  const input = new PassThrough();
  const output = new PassThrough();
  const notes = new PassThrough();
  const texts = { out: "", notes: "" };
  const keep = (stream: PassThrough, name: "out" | "notes") =>
    stream.setEncoding("utf8").on("data", (chunk: string) => {
      texts[name] += chunk;
    });
  keep(output, "out");
  keep(notes, "notes");
  let ids = 0;
  const signals: { interrupt: () => void } = { interrupt: () => undefined };
  const code = runChat({
    url: await gateway.start(),
    token: "t",
    thread: "latest",
    approvals: "ask",
    interactive: false,
    input,
    output,
    notes,
    clock: systemClock,
    newId: () => `input-${++ids}`,
    onSignals: (interrupt) => {
      signals.interrupt = interrupt;
    },
    ...over,
  });
  return {
    code,
    input,
    out: () => texts.out,
    notes: () => texts.notes,
    interrupt: () => signals.interrupt(),
  };
}

test("one message: the answer alone on stdout, everything else apart, exit 0", async () => {
  const { code, out, notes } = await talk({ message: "hello" });
  expect(await code).toBe(0);
  expect(out()).toBe("echo: hello\n");
  expect(notes()).toContain("echo");
});

test("one message whose turn failed exits 1", async () => {
  const { code } = await talk({ message: "fail" });
  expect(await code).toBe(1);
});

test("each line of a pipe is a message of its own, in order", async () => {
  const { code, input, out } = await talk({});
  input.end("one\ntwo\n\nthree");
  expect(await code).toBe(0);
  expect(gateway.inputs).toEqual(["one", "two", "three"]);
  expect(out()).toBe("echo: one\necho: two\necho: three\n");
});

test("a cut after an accepted message makes one turn, and the chat comes back where it was", async () => {
  gateway.cutAfterTurnStart = 1;
  const { code, out, notes } = await talk({ message: "once" });
  expect(await code).toBe(0);
  expect(gateway.inputs).toEqual(["once"]);
  expect(out()).toBe("echo: once\n");
  expect(notes()).toContain("connection lost");
  const [first, second] = gateway.queries;
  expect(first?.get("boot")).toBeNull();
  expect(second?.get("session")).toBe("main");
  expect(second?.get("boot")).toBe("b1");
  expect(second?.get("after")).toBe("0");
});

test("without a terminal an approval is declined and said so", async () => {
  gateway.ask = true;
  const { code, notes } = await talk({ message: "run" });
  expect(await code).toBe(0);
  expect(gateway.answers).toEqual([{ decision: "decline" }]);
  expect(notes()).toContain("run ls");
  expect(notes()).toContain("to look");
});

test("--approvals accept answers for the person", async () => {
  gateway.ask = true;
  const { code } = await talk({ message: "run", approvals: "accept" });
  expect(await code).toBe(0);
  expect(gateway.answers).toEqual([{ decision: "accept" }]);
});

test("Ctrl-C interrupts the turn first", async () => {
  gateway.slow = true;
  const { code, interrupt } = await talk({ message: "long" });
  await gateway.turnStarted.promise;
  interrupt();
  expect(await code).toBe(130);
  expect(gateway.interrupts).toEqual(["interrupt"]);
});

test("a script does not wait for ever for a session that cannot become ready", async () => {
  gateway.stuck = "the app-server nosuch is not on the PATH";
  const clock = new ManualClock();
  const { code, notes } = await talk({ message: "hello", clock });
  await eventually("it says what it waits for", () => notes().includes("not on the PATH"));
  await clock.advance(300_000);
  expect(await code).toBe(69);
  expect(notes()).toContain(
    "not ready within 5 minutes (the app-server nosuch is not on the PATH)",
  );
});

test("a person who says goodbye after an interrupted turn leaves with 0", async () => {
  gateway.slow = true;
  const { code, input, interrupt, out } = await talk({ interactive: true });
  input.write("long\n");
  await gateway.turnStarted.promise;
  interrupt();
  await eventually("the turn is interrupted", () => out().includes("· interrupted"));
  input.end();
  expect(await code).toBe(0);
});

test("a refused token ends at once with what to do", async () => {
  gateway.refuse = { code: 1008, reason: "Unauthorized" };
  const { code } = await talk({ message: "hello" });
  await expect(code).rejects.toMatchObject({ code: "Unauthorized" });
});

test("an unknown session ends at once and names the list", async () => {
  gateway.refuse = { code: 1008, reason: "Unknown session" };
  const { code } = await talk({ message: "hello", session: "nope" });
  await expect(code).rejects.toThrow(/^no session nope: .*argus sessions/);
  expect(gateway.queries[0]?.get("session")).toBe("nope");
});

test("a gateway that is not there is said in one line", async () => {
  const { code } = await talk({ message: "hello", url: "http://127.0.0.1:1" });
  await expect(code).rejects.toThrow(/cannot be reached.*argus up/);
});
