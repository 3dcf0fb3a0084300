import { once } from "node:events";
import { WebSocket } from "ws";

export interface Message {
  id?: number | string | null;
  method?: string;
  // Tests read many shapes; each assertion names the field that it expects.
  params?: Record<string, unknown> & { [key: string]: unknown };
  result?: Record<string, unknown>;
  error?: { code: number; message: string; data?: Record<string, unknown> };
  argusSeq?: number;
}

export interface ConnectOptions {
  /** http://host:port of the gateway. */
  url: string;
  token: string;
  /** Further query parameters: session, boot, after. */
  query?: Record<string, string>;
  timeoutMs?: number;
}

/** A client of `/ws` as a test needs it: everything received is kept, everything can be waited for. */
export class WsClient {
  readonly received: Message[] = [];
  /** Set when the socket has closed. */
  closed: { code: number; reason: string } | undefined;
  readonly #socket: WebSocket;
  readonly #timeoutMs: number;
  readonly #wakers = new Set<() => void>();
  #nextId = 1;

  static async connect(options: ConnectOptions): Promise<WsClient> {
    const url = new URL("/ws", options.url.replace(/^http/, "ws"));
    for (const [name, value] of Object.entries(options.query ?? {}))
      url.searchParams.set(name, value);
    const socket = new WebSocket(url, { headers: { authorization: `Bearer ${options.token}` } });
    const client = new WsClient(socket, options.timeoutMs ?? 60_000);
    await once(socket, "open");
    return client;
  }

  private constructor(socket: WebSocket, timeoutMs: number) {
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
    socket.on("message", (data: Buffer) => {
      this.received.push(JSON.parse(data.toString("utf8")) as Message);
      this.#wake();
    });
    socket.on("close", (code, reason) => {
      this.closed = { code, reason: reason.toString() };
      this.#wake();
    });
    socket.on("error", () => this.#wake());
  }

  send(message: unknown): void {
    this.#socket.send(JSON.stringify(message));
  }

  sendRaw(data: string | Buffer, binary = false): void {
    this.#socket.send(data, { binary });
  }

  /** Sends a request and waits for its answer; a JSON-RPC error is thrown with its message. */
  async request(method: string, params: unknown = {}): Promise<Record<string, unknown>> {
    const answer = await this.ask(method, params);
    if (answer.error) throw new Error(`${method}: ${answer.error.message}`);
    return answer.result ?? {};
  }

  /** The same, but the error is the answer. */
  async ask(method: string, params: unknown = {}): Promise<Message> {
    const id = this.#nextId++;
    this.send({ id, method, params });
    return await this.waitFor(`the answer to ${method}`, (m) => m.id === id && !m.method);
  }

  /** The first message, from index `from` on, for which `wanted` holds. */
  async waitFor(what: string, wanted: (m: Message) => boolean, from = 0): Promise<Message> {
    let next = from;
    const deadline = Date.now() + this.#timeoutMs;
    for (;;) {
      for (; next < this.received.length; next++) {
        const message = this.received[next];
        if (message && wanted(message)) return message;
      }
      if (this.closed)
        throw new Error(`closed (${this.closed.code} ${this.closed.reason}) before ${what}`);
      await this.#changed(deadline, what);
    }
  }

  async notification(method: string, from = 0): Promise<Message> {
    return await this.waitFor(`the notification ${method}`, (m) => m.method === method, from);
  }

  /** The end of one turn. */
  async turnCompleted(turnId: unknown): Promise<Message> {
    const isTurn = (m: Message) => (m.params?.turn as { id?: unknown } | undefined)?.id === turnId;
    return await this.waitFor("turn/completed", (m) => m.method === "turn/completed" && isTurn(m));
  }

  async waitClosed(): Promise<{ code: number; reason: string }> {
    const deadline = Date.now() + this.#timeoutMs;
    while (!this.closed) await this.#changed(deadline, "the close");
    return this.closed;
  }

  async initialize(): Promise<void> {
    await this.request("initialize", { clientInfo: { name: "test", title: "Test", version: "0" } });
    this.send({ method: "initialized" });
  }

  /** All text that the agent wrote in completed items of a turn. */
  agentText(turnId: unknown): string {
    return this.received
      .filter((m) => m.method === "item/completed" && m.params?.turnId === turnId)
      .map((m) => m.params?.item as { type?: string; text?: string })
      .filter((item) => item.type === "agentMessage")
      .map((item) => item.text ?? "")
      .join("");
  }

  /** Stops reading from the socket: a slow client. */
  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.#socket.close();
    await this.waitClosed();
  }

  terminate(): void {
    this.#socket.terminate();
  }

  #wake(): void {
    for (const wake of this.#wakers) wake();
    this.#wakers.clear();
  }

  #changed(deadline: number, what: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`no ${what} within ${this.#timeoutMs} ms; last: ${this.#tail()}`)),
        Math.max(1, deadline - Date.now()),
      );
      this.#wakers.add(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #tail(): string {
    return JSON.stringify(this.received.slice(-4)).slice(0, 2000);
  }
}
