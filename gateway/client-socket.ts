import type { Socket } from "node:net";
import { FrameReader } from "#lib/frame-reader.ts";
import { closeFrame, encodeFrame, OPCODE } from "#lib/frames.ts";
import { CLOSE } from "#protocol/client.ts";
import { writeGathered } from "./gathered-write.ts";

export const MAX_CLIENT_MESSAGE_BYTES = 16 * 1024 * 1024;
const READ_BYTES = 64 * 1024;
const CLOSE_TIMEOUT_MS = 5000;
/** Pings without any sign of life after which a client counts as dead. */
const MAX_MISSED = 3;
const PING = encodeFrame(OPCODE.ping, Buffer.alloc(0));

export interface ClientHandler {
  /** Looks at one message `buffer[start, end)`; false = it is not passed on. Must not keep the buffer. */
  accept(buffer: Buffer, start: number, end: number): boolean;
  /** Whole lines, in order; false = read no more before `resume`. */
  lines(lines: Buffer[]): boolean;
  /** Nothing that `lines` took waits in this process any more. */
  readonly forwarded: boolean;
  /** What was sent has left; after `send` said no. */
  drained(): void;
  closed(): void;
  /** Once a second; `now` is of the monotonic clock. */
  tick(now: number): void;
}

/** The server's end of one WebSocket, on the bare socket: lines in, ready frames out. */
export class ClientSocket {
  readonly #socket: Socket;
  readonly #handler: ClientHandler;
  readonly #reader: FrameReader;
  #full = false;
  /** Answers of our own wait for a peer that does not read: it is not read either. */
  #owing = false;
  #turnTaken = false;
  #missed = 0;
  #closing: NodeJS.Timeout | undefined;

  constructor(socket: Socket, handler: ClientHandler) {
    this.#socket = socket;
    this.#handler = handler;
    this.#reader = new FrameReader(
      {
        accept: (buffer, start, end) => handler.accept(buffer, start, end),
        control: (opcode, payload) => this.#control(opcode, payload),
      },
      MAX_CLIENT_MESSAGE_BYTES,
    );
    socket.setTimeout(0);
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#data(chunk));
    socket.on("drain", () => this.#drained());
    socket.on("end", () => socket.end());
    // 'close' follows and says it all.
    socket.on("error", () => {});
    socket.on("close", () => {
      clearTimeout(this.#closing);
      handler.closed();
    });
  }

  /** Bytes that came together with the upgrade request. */
  begin(head: Buffer): void {
    if (head.length > 0) this.#data(head);
  }

  /** Nothing that was sent waits in this process. */
  get idle(): boolean {
    return this.#socket.writableLength === 0;
  }

  /** Writes ready frames in one go; false = wait for `drained`. */
  send(frames: readonly Buffer[]): boolean {
    if (this.#closing || this.#socket.destroyed) return true;
    return writeGathered(this.#socket, frames);
  }

  /** Answers what the peer just sent; a peer that only asks and never reads is not asked for more. */
  reply(frame: Buffer): void {
    if (!this.send([frame])) this.#owing = true;
  }

  /** The handler has room again. */
  resume(): void {
    if (this.#handler.forwarded) this.#reader.sent();
    this.#full = false;
    this.#readOn();
  }

  /** Close handshake; the connection is cut when the peer does not answer in time. */
  close(code: number, reason: string): void {
    if (this.#closing || this.#socket.destroyed) return;
    this.#socket.end(closeFrame(code, reason));
    this.#closing = setTimeout(() => this.#socket.destroy(), CLOSE_TIMEOUT_MS);
    // Whatever still comes is dropped, but it must be read to see the end.
    this.#socket.resume();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  tick(now: number): void {
    this.#handler.tick(now);
  }

  /** Asks for a sign of life, or cuts a peer that has given none since the last three. */
  ping(): void {
    if (this.#closing) return;
    if (this.#missed >= MAX_MISSED) {
      this.#socket.destroy();
      return;
    }
    // While we do not read we cannot hear an answer either.
    if (!this.#full) this.#missed += 1;
    this.#socket.write(PING);
  }

  #drained(): void {
    // A slow reader that still takes bytes is alive.
    this.#missed = 0;
    if (this.#owing) {
      this.#owing = false;
      this.#readOn();
    }
    this.#handler.drained();
  }

  #readOn(): void {
    if (!this.#full && !this.#owing && !this.#turnTaken) this.#socket.resume();
  }

  #data(chunk: Buffer): void {
    if (this.#closing) return;
    this.#missed = 0;
    const { lines, violation } = this.#reader.push(chunk);
    if (lines.length > 0 && !this.#handler.lines(lines)) this.#full = true;
    if (this.#handler.forwarded) this.#reader.sent();
    if (violation) this.close(violation.code, violation.reason);
    // Also when full: the bridge's socket may drain before libuv would read again.
    else if (chunk.length >= READ_BYTES) this.#yieldTurn();
    else if (this.#full || this.#owing) this.#socket.pause();
  }

  /** A full read: there may be more, the others come first. */
  #yieldTurn(): void {
    this.#turnTaken = true;
    this.#socket.pause();
    setImmediate(() => {
      this.#turnTaken = false;
      this.#readOn();
    });
  }

  #control(opcode: number, payload: Buffer): void {
    if (opcode === OPCODE.ping) this.reply(encodeFrame(OPCODE.pong, payload));
    if (opcode === OPCODE.close) this.close(answerTo(payload), "");
  }
}

/** The code that answers a peer's close frame: its own when it is a legal one. */
function answerTo(payload: Buffer): number {
  if (payload.length === 0) return CLOSE.normal;
  const code = payload.length >= 2 ? payload.readUInt16BE(0) : 0;
  const legal =
    (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || code >= 3000;
  return legal && code < 5000 ? code : 1002;
}
