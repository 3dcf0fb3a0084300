import { connect, type Socket } from "node:net";
import { LineSplitter } from "#lib/lines.ts";

export interface Line {
  id?: unknown;
  method?: string;
  argusSeq?: number;
  params?: Record<string, unknown>;
  result?: Record<string, unknown>;
  error?: { code: number; message: string; data?: Record<string, unknown> };
}

/** A raw TCP peer of the bridge: every line received is kept and can be waited for. */
export class BridgePeer {
  readonly socket: Socket;
  readonly raw: Buffer[] = [];
  readonly lines: Line[] = [];
  readonly closed: Promise<void>;
  readonly #splitter = new LineSplitter({ maxBytes: 2 ** 30, onOverflow: "stop" });
  readonly #wakers = new Set<() => void>();
  #isClosed = false;
  #nextId = 1000;

  constructor(host: string, port: number) {
    this.socket = connect({ host, port, noDelay: true });
    this.socket.on("error", () => undefined);
    this.socket.on("data", (chunk: Buffer) => this.#take(chunk));
    this.closed = new Promise((resolve) => {
      this.socket.once("close", () => {
        this.#isClosed = true;
        resolve();
        this.#wake();
      });
    });
  }

  send(message: unknown): void {
    this.socket.write(`${JSON.stringify(message)}\n`);
  }

  /** Sends a request and waits for its answer, also when that is an error. */
  async ask(method: string, params: unknown = {}): Promise<Line> {
    this.#nextId += 1;
    const id = this.#nextId;
    this.send({ id, method, params });
    return this.waitFor(`the answer to ${method}`, (line) => line.id === id && !line.method);
  }

  /** The result; an error is thrown. */
  async request(method: string, params: unknown = {}): Promise<Record<string, unknown>> {
    const { result, error } = await this.ask(method, params);
    if (error) throw new Error(`${method}: ${error.message}`);
    return result ?? {};
  }

  /** The first line from `from` on for which `wanted` holds, received before or from now on. */
  async waitFor(what: string, wanted: (line: Line) => boolean, from = 0): Promise<Line> {
    const deadline = Date.now() + 30_000;
    for (let next = from; ; ) {
      for (; next < this.lines.length; next += 1) {
        const line = this.lines[next];
        if (line && wanted(line)) return line;
      }
      if (this.#isClosed) throw new Error(`closed before ${what}`);
      await this.#changed(deadline, what);
    }
  }

  notification(method: string, from = 0): Promise<Line> {
    return this.waitFor(method, (line) => line.method === method && line.id === undefined, from);
  }

  /** Resolves when everything sent before was handled: a round trip. */
  async settled(): Promise<void> {
    await this.ask("bridge/nothing");
  }

  close(): void {
    this.socket.destroy();
  }

  #take(chunk: Buffer): void {
    for (const line of this.#splitter.push(chunk).lines) {
      this.raw.push(line);
      this.lines.push(JSON.parse(line.toString("utf8")) as Line);
    }
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#wakers) wake();
    this.#wakers.clear();
  }

  #changed(deadline: number, what: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const late = () => {
        const seen = this.lines.slice(-5).map((line) => JSON.stringify(line).slice(0, 300));
        reject(new Error(`no ${what} in time; last lines: ${seen.join("\n")}`));
      };
      const timer = setTimeout(late, Math.max(1, deadline - Date.now()));
      this.#wakers.add(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }
}
