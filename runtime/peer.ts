import type { Socket } from "node:net";
import { LineSplitter, MAX_PEER_LINE_BYTES } from "#lib/lines.ts";
import type { PeerRole } from "#protocol/bridge.ts";
import { RPC_ERROR } from "#protocol/envelope.ts";
import { GatheredWrites } from "./gathered-writes.ts";
import { errorLine } from "./rpc.ts";

/** Bytes that a peer may leave unread before it is cut off; it can resume from the ring, which must fit in here. */
export const MAX_UNSENT_BYTES = 16 * 1024 * 1024;

/** How long a refused peer may take to read why. */
const LINGER_MS = 2000;

/** One accepted connection, as the multiplexer sees it. */
export interface Peer {
  readonly role: PeerRole;
  readonly epoch: number;
  /** The connection is closed: nothing from it may be forwarded any more. */
  readonly gone: boolean;
  /** Shares the buffer, never changes it. */
  send(lines: Buffer): void;
}

export interface PeerOptions {
  role: PeerRole;
  epoch: number;
  /** Handles one line; while a promise is pending nothing more is read from this peer. */
  onLine: (line: Buffer) => void | Promise<void>;
  onCutOff: (unsentBytes: number) => void;
  maxLineBytes?: number;
  maxUnsentBytes?: number;
}

/** A TCP peer behind its hello. Reads line by line in order, writes gathered per turn, is cut off when it does not read. */
export class PeerConnection implements Peer {
  readonly role: PeerRole;
  readonly epoch: number;
  readonly #socket: Socket;
  readonly #options: PeerOptions;
  readonly #splitter: LineSplitter;
  readonly #out: GatheredWrites;
  #lines: Buffer[] = [];
  #working = false;
  #overflowed = false;

  constructor(socket: Socket, options: PeerOptions) {
    this.role = options.role;
    this.epoch = options.epoch;
    this.#socket = socket;
    this.#options = options;
    this.#out = new GatheredWrites(socket);
    const maxBytes = options.maxLineBytes ?? MAX_PEER_LINE_BYTES;
    this.#splitter = new LineSplitter({ maxBytes, onOverflow: "stop" });
  }

  get gone(): boolean {
    return this.#socket.destroyed;
  }

  /** Starts to read; `first` came together with the hello. */
  start(first: Buffer): void {
    this.#socket.on("data", (chunk: Buffer) => this.#onChunk(chunk));
    if (first.length > 0) this.#onChunk(first);
    if (!this.#working) this.#socket.resume();
  }

  send(lines: Buffer): void {
    const socket = this.#socket;
    if (socket.destroyed || !socket.writable) return;
    // What is unsent before this write counts: one large line alone never cuts a peer off.
    const unsent = socket.writableLength + this.#out.bytes;
    if (unsent > (this.#options.maxUnsentBytes ?? MAX_UNSENT_BYTES)) {
      this.#options.onCutOff(unsent);
      socket.destroy();
      return;
    }
    if (this.#out.bytes === 0) process.nextTick(() => this.#out.flush());
    this.#out.add([lines]);
  }

  /** At once: what it sent and we did not read is dropped. */
  destroy(): void {
    this.#lines = [];
    this.#socket.destroy();
  }

  /** After what was written has left. */
  end(): void {
    this.#out.flush();
    this.#socket.end();
  }

  #onChunk(chunk: Buffer): void {
    const { lines, overflows } = this.#splitter.push(chunk);
    for (const line of lines) this.#lines.push(line);
    this.#overflowed ||= overflows > 0;
    if (!this.#working) this.#work();
  }

  #work(): void {
    for (let at = 0; at < this.#lines.length; at += 1) {
      const line = this.#lines[at];
      const pending = line && !this.gone ? this.#options.onLine(line) : undefined;
      if (!pending) continue;
      this.#lines = this.#lines.slice(at + 1);
      this.#wait(pending);
      return;
    }
    this.#lines = [];
    if (this.#overflowed) this.#refuseOverflow();
    else this.#socket.resume();
  }

  #wait(pending: Promise<void>): void {
    this.#working = true;
    this.#socket.pause();
    const goOn = () => {
      this.#working = false;
      this.#work();
    };
    pending.then(goOn, goOn);
  }

  #refuseOverflow(): void {
    const limit = this.#options.maxLineBytes ?? MAX_PEER_LINE_BYTES;
    const message = `A line may have at most ${limit} bytes; nothing after it was read. Connect again.`;
    this.send(errorLine(null, { code: RPC_ERROR.invalidRequest, message }));
    // What still comes is thrown away, so that the answer is not lost to a reset.
    this.#socket.removeAllListeners("data").resume();
    this.end();
    setTimeout(() => this.#socket.destroy(), LINGER_MS).unref();
  }
}
