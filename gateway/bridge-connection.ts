import { connect, type Socket } from "node:net";
import type { HelloResult } from "#protocol/bridge.ts";
import { writeGathered } from "./gathered-write.ts";
import { readBuffers } from "./line-framer.ts";

const MAX_HELLO_BYTES = 64 * 1024;
const NEWLINE = 10;
/** Read budget while lines are short and cost most: a neighbour waits for fewer of them. */
const SHARED_BYTES = 48 * 1024;
/** One read buffer for all bridge connections: libuv fills it and the callback empties it without a gap. */
const SHARED = Buffer.allocUnsafeSlow(SHARED_BYTES);

/** Where a bridge's bytes go. */
export interface BridgeSink {
  /** The next chunk is better read into a buffer of `readBuffers`, that can be kept. */
  readonly wantsOwnBuffer: boolean;
  /** Takes a chunk, borrowed unless `owned`. `kept`: it still uses the buffer; `full`: read no more before `resume`. */
  data(chunk: Buffer, owned: boolean): { kept: boolean; full: boolean };
  /** The connection takes lines again after `write` said no. */
  writable(): void;
  /** The connection is over. */
  ended(): void;
}

/** A TCP connection to a bridge: first one line (the hello's answer), then a stream for one sink. */
export class BridgeConnection {
  readonly #socket: Socket;
  #firstLine: PromiseWithResolvers<string> | undefined = Promise.withResolvers<string>();
  #head: Buffer[] | undefined = [];
  #headBytes = 0;
  #sink: BridgeSink | undefined;
  #full = true;
  #turnTaken = false;
  #buffer: Buffer = SHARED;
  #kept = false;
  #closed = false;
  /** Set by the dial once the hello was answered and checked. */
  hello: HelloResult | undefined;

  constructor({ host, port }: { host: string; port: number }) {
    this.#firstLine?.promise.catch(() => {});
    this.#socket = connect({
      host,
      port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: 15_000,
      onread: {
        buffer: () => this.#nextBuffer(),
        callback: (bytes: number) => this.#read(bytes),
      },
    });
    this.#socket.on("error", (error) => this.#firstLine?.reject(error));
    this.#socket.on("drain", () => this.#sink?.writable());
    this.#socket.on("close", () => this.#end());
  }

  /** Sends the first line; resolves to the answer's line. Rejects when the connection ends before. */
  ask(line: string): Promise<string> {
    this.#socket.write(`${line}\n`);
    return this.#firstLine?.promise ?? Promise.reject(new Error("asked twice"));
  }

  /** Everything from now on goes to `sink`, first what came behind the hello's answer. */
  start(sink: BridgeSink): void {
    this.#sink = sink;
    this.#full = false;
    // What the greeting needed is not kept by thousands of idle connections.
    this.#firstLine = this.hello = undefined;
    const rest = this.#head;
    this.#head = undefined;
    for (const chunk of rest ?? []) this.#full = sink.data(chunk, false).full || this.#full;
    if (this.#closed) sink.ended();
    else if (!this.#full) this.#socket.resume();
  }

  /** Nothing that was written waits in this process. */
  get idle(): boolean {
    return this.#socket.writableLength === 0;
  }

  /** Writes lines in one go; false = wait for `writable`. */
  write(lines: readonly Buffer[]): boolean {
    return writeGathered(this.#socket, lines);
  }

  /** The sink has room again. */
  resume(): void {
    this.#full = false;
    if (!this.#turnTaken) this.#socket.resume();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** After each read: the shared buffer, or in the middle of a long line one that can be kept. */
  #nextBuffer(): Buffer {
    const own = this.#buffer !== SHARED && !this.#kept;
    if (this.#sink?.wantsOwnBuffer) {
      if (!own) this.#buffer = readBuffers.take();
    } else {
      if (own) readBuffers.give(this.#buffer);
      this.#buffer = SHARED;
    }
    this.#kept = false;
    return this.#buffer;
  }

  /** False stops reading. */
  #read(bytes: number): boolean {
    const chunk = this.#buffer.subarray(0, bytes);
    if (!this.#sink) return this.#readHead(chunk);
    const { kept, full } = this.#sink.data(chunk, this.#buffer !== SHARED);
    this.#kept = kept;
    this.#full = full;
    if (bytes < this.#buffer.length) return !full;
    // There may be more: the others come first. Also when full: the sink may drain before libuv would read again.
    this.#turnTaken = true;
    setImmediate(() => this.#nextTurn());
    return false;
  }

  #nextTurn(): void {
    this.#turnTaken = false;
    if (!this.#full && !this.#closed) this.#socket.resume();
  }

  #readHead(chunk: Buffer): boolean {
    this.#headBytes += chunk.length;
    this.#head?.push(Buffer.from(chunk));
    if (!chunk.includes(NEWLINE)) {
      if (this.#headBytes > MAX_HELLO_BYTES) this.#socket.destroy(new Error("answer too long"));
      return this.#headBytes <= MAX_HELLO_BYTES;
    }
    const all = Buffer.concat(this.#head ?? []);
    const end = all.indexOf(NEWLINE);
    this.#head = end + 1 < all.length ? [all.subarray(end + 1)] : [];
    this.#firstLine?.resolve(all.toString("utf8", 0, end));
    return false;
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#firstLine?.reject(new Error("the bridge closed the connection"));
    this.#sink?.ended();
  }
}
