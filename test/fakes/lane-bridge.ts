import { createInterface } from "node:readline";
import { ownWords } from "#protocol/prompt-text.ts";
import type { Message } from "#test/support/ws-client.ts";
import type { FakePeer } from "./bridge.ts";

/** The part of a bridge that a lane sees: a ledger, a thread, and a test that ends turns. */
export class LaneBridge {
  readonly started: { id: string; text: string; thread: string }[] = [];
  readonly prompts: string[] = [];
  readonly roles: string[] = [];
  /** Input id → its turn's status. */
  readonly ledger = new Map<string, { turn: string; status: string }>();
  /** Refuse the next starts with these reasons. */
  refusals: { code: number; message: string; data?: { reason: string } }[] = [];
  threads = 0;
  /** What `bridge/context` answers; undefined = it is not known here. */
  files: Record<string, { text: string; truncated: boolean }> | undefined;
  /** Interrupts are answered and change nothing. */
  isDeaf = false;
  /** What it says when asked whether anything runs. */
  isUnused = true;
  asked = 0;
  /** Called when the answer to a turn's start has left. */
  onStarted: (input: { id: string; text: string; turn: string }) => void = () => undefined;
  /** Answers to questions of the agent. */
  readonly answers: { id: number; result?: unknown; error?: { code: number } }[] = [];
  readonly #asks = new Map<number, object>();
  readonly #peers = new Set<FakePeer>();

  onPeer = (peer: FakePeer): void => {
    this.roles.push(peer.hello.role);
    this.#peers.add(peer);
    peer.socket.on("close", () => this.#peers.delete(peer));
    const lines = createInterface({ input: peer.socket });
    lines.on("error", () => {});
    lines.on("line", (line) => this.#serve(peer, JSON.parse(line)));
    for (const ask of this.#asks.values()) peer.socket.write(`${JSON.stringify(ask)}\n`);
    peer.socket.resume();
  };

  /** The agent asks a person something, in the turn of this message. */
  ask(id: number, input: string, method: string, params: object): void {
    const turnId = this.ledger.get(input)?.turn;
    const ask = { id, method, params: { threadId: "t1", turnId, ...params } };
    this.#asks.set(id, ask);
    this.#tellAll(ask);
  }

  /** The question is settled elsewhere. */
  resolve(id: number): void {
    this.#asks.delete(id);
    this.say("serverRequest/resolved", { requestId: id });
  }

  end(id: string, status = "completed", error?: { message: string }): void {
    const entry = this.ledger.get(id);
    if (!entry) throw new Error(`no turn of ${id}`);
    entry.status = status;
    const turn = { id: entry.turn, status, error: error ?? null };
    this.#tellAll({ method: "turn/completed", params: { threadId: "t1", turn } });
  }

  cut(): void {
    for (const { socket } of this.#peers) socket.destroy();
  }

  #serve(peer: FakePeer, message: Message): void {
    const { id, method, params } = message;
    if (method === undefined) return this.#answered(message);
    const answer = (body: object) => peer.socket.write(`${JSON.stringify({ id, ...body })}\n`);
    if (method === "thread/start") {
      this.threads += 1;
      answer({ result: { thread: { id: `t${this.threads}` } } });
    } else if (method === "thread/read" && this.#hasThread(params)) {
      answer({ result: { thread: { id: params?.["threadId"] } } });
    } else if (method === "bridge/activity") {
      this.asked += 1;
      answer({ result: { isUnused: this.isUnused } });
    } else if (method === "turn/start") {
      const before = this.started.length;
      answer(this.#start(params ?? {}));
      const [made] = this.started.slice(before);
      if (made) this.onStarted({ ...made, turn: this.ledger.get(made.id)?.turn ?? "" });
    } else if (method === "bridge/context" && this.files) answer({ result: { files: this.files } });
    else if (method === "turn/interrupt") this.#interrupt(String(params?.["turnId"]), answer);
    else answer({ error: { code: -32600, message: `unknown method ${method}` } });
  }

  #answered({ id, result, error }: Message): void {
    if (!this.#asks.has(Number(id))) return;
    const isWithdrawn = error?.code === -32601;
    this.answers.push({ id: Number(id), ...(error ? { error } : { result }) });
    if (!isWithdrawn) this.resolve(Number(id));
  }

  #hasThread(params: Message["params"]): boolean {
    const number = Number(String(params?.["threadId"]).slice(1));
    return number >= 1 && number <= this.threads;
  }

  #start(params: Record<string, unknown>): object {
    const error = this.refusals.shift();
    if (error) return { error };
    const input = String(params["clientUserMessageId"]);
    const known = this.ledger.get(input);
    if (known)
      return { result: { turn: { id: known.turn, status: known.status, argusRan: false } } };
    const [{ text } = { text: "" }] = params["input"] as { text: string }[];
    this.prompts.push(text);
    this.started.push({ id: input, text: ownWords(text), thread: String(params["threadId"]) });
    const turn = `turn-${this.started.length}`;
    this.ledger.set(input, { turn, status: "inProgress" });
    return { result: { turn: { id: turn, status: "inProgress" } } };
  }

  #interrupt(turnId: string, answer: (body: object) => void): void {
    answer({ result: {} });
    if (this.isDeaf) return;
    for (const [input, { turn }] of this.ledger)
      if (turn === turnId) this.end(input, "interrupted");
  }

  /** A notification of the running turn. */
  say(method: string, params: object): void {
    this.#tellAll({ method, params: { threadId: "t1", ...params } });
  }

  #tellAll(message: object): void {
    for (const { socket } of this.#peers) socket.write(`${JSON.stringify(message)}\n`);
  }
}
