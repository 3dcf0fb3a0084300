import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Message } from "./ws-client.ts";

export interface StdioOptions {
  command: string[];
  env: Record<string, string>;
  cwd: string;
  timeoutMs?: number;
}

/** An app-server as a child process, spoken to in JSON lines: everything received is kept and can be waited for. */
export class StdioAppServer {
  readonly received: Message[] = [];
  readonly #child: ChildProcess;
  readonly #timeoutMs: number;
  readonly #wakers = new Set<() => void>();
  #stderr = "";
  #partial: Buffer[] = [];
  #nextId = 1;

  constructor({ command, env, cwd, timeoutMs = 30_000 }: StdioOptions) {
    const [program = "", ...words] = command;
    this.#timeoutMs = timeoutMs;
    this.#child = spawn(program, words, { env, cwd, stdio: ["pipe", "pipe", "pipe"] });
    this.#child.stdout?.on("data", (chunk: Buffer) => this.#take(chunk));
    this.#child.stderr?.on("data", (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString()).slice(-4000);
    });
    this.#child.on("exit", () => this.#wake());
  }

  send(message: unknown): void {
    this.sendRaw(JSON.stringify(message));
  }

  sendRaw(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Null while it runs and when a signal ended it. */
  get exitCode(): number | null {
    return this.#child.exitCode;
  }

  /** Resolves when it has ended. */
  async kill(signal: NodeJS.Signals): Promise<void> {
    const exited = once(this.#child, "exit");
    this.#child.kill(signal);
    await exited;
  }

  /** Sends a request and waits for its answer; a JSON-RPC error is thrown with its message. */
  async request(method: string, params: unknown = {}): Promise<Record<string, unknown>> {
    const id = this.#nextId++;
    this.send({ id, method, params });
    const answer = await this.waitFor(`the answer to ${method}`, (m) => m.id === id && !m.method);
    if (answer.error) throw new Error(`${method}: ${answer.error.message}`);
    return answer.result ?? {};
  }

  async initialize(): Promise<void> {
    await this.request("initialize", {
      clientInfo: { name: "test", title: "Test", version: "0" },
      capabilities: { experimentalApi: true },
    });
    this.send({ method: "initialized" });
  }

  /** The first message for which `wanted` holds, received before or from now on. */
  async waitFor(what: string, wanted: (m: Message) => boolean): Promise<Message> {
    const deadline = Date.now() + this.#timeoutMs;
    for (let next = 0; ; ) {
      for (; next < this.received.length; next++) {
        const message = this.received[next];
        if (message && wanted(message)) return message;
      }
      if (this.#child.exitCode !== null || this.#child.signalCode !== null)
        throw new Error(`ended before ${what}: ${this.#stderr}`);
      await this.#changed(deadline, what);
    }
  }

  /** The end of one turn. */
  async turnCompleted(turnId: unknown): Promise<Message> {
    const isTurn = (m: Message) => (m.params?.turn as { id?: unknown } | undefined)?.id === turnId;
    return await this.waitFor("turn/completed", (m) => m.method === "turn/completed" && isTurn(m));
  }

  /** Closes stdin and waits for the end; SIGKILL when it does not come. */
  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.stdin?.end();
    const kill = setTimeout(() => this.#child.kill("SIGKILL"), 5000);
    await exited.finally(() => clearTimeout(kill));
  }

  #take(chunk: Buffer): void {
    let from = 0;
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      this.#partial.push(chunk.subarray(from, at));
      const line = Buffer.concat(this.#partial).toString("utf8");
      this.#partial = [];
      from = at + 1;
      if (line.trim()) this.received.push(JSON.parse(line) as Message);
    }
    if (from < chunk.length) this.#partial.push(chunk.subarray(from));
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#wakers) wake();
    this.#wakers.clear();
  }

  #changed(deadline: number, what: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`no ${what} within ${this.#timeoutMs} ms; stderr: ${this.#stderr}`)),
        Math.max(1, deadline - Date.now()),
      );
      this.#wakers.add(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}
