import { isUtf8 } from "node:buffer";
import { LargeBuffers } from "./buffer-pool.ts";
import {
  clientHeaderBytes,
  type Header,
  MAX_HEADER_BYTES,
  OPCODE,
  readClientHeader,
  unmaskInto,
  type Violation,
} from "./frames.ts";

const NEWLINE = 10;
const SPACE = 32;
/** A message of this size that spans chunks is collected in a buffer that is used again. */
const LARGE_BYTES = 32 * 1024;
const MAX_UNUSED_BYTES = 8 * 1024 * 1024;
/** More than so many wait only behind a slow receiver: the collector takes those. */
const MAX_WAITING = 16;
const large = new LargeBuffers(MAX_UNUSED_BYTES);
const BAD_TEXT: Violation = { code: 1007, reason: "Text frames must be UTF-8" };

export interface FrameHandler {
  /** Looks at one unmasked message `buffer[start, end)`; false = it is not passed on. Must not keep the buffer. */
  accept(buffer: Buffer, start: number, end: number): boolean;
  /** A ping, pong or close frame; the payload is the handler's to keep. */
  control(opcode: number, payload: Buffer): void;
}

/**
 * Turns a client's frames into JSON lines: unmasked in place and moved together, each message followed by one newline,
 * newlines inside a message replaced by a space, fragments joined, UTF-8 checked.
 * Memory is bounded by one message of `maxBytes`.
 */
export class FrameReader {
  readonly #handler: FrameHandler;
  readonly #maxBytes: number;
  // Not from the pool: four bytes would keep 64 KiB of it for as long as the client stays.
  readonly #key = Buffer.alloc(4);
  #header: Header = { bytes: 0, final: true, opcode: 0, length: 0 };
  /** Bytes of a header that the last chunk ended in. */
  #partial: Buffer | undefined;
  /** Payload bytes of the current frame that are still to come; the phase is what came. */
  #left = 0;
  #phase = 0;
  /** The message (or control payload) that spans frames or chunks. */
  #message: Buffer | undefined;
  #filled = 0;
  #fragmented = false;
  #control: Buffer | undefined;
  #lines: Buffer[] = [];
  /** Large buffers whose lines were handed out and may still wait to leave. */
  #waiting: Buffer[] = [];
  /** Lines of the current chunk: `chunk[#from, #to)`. */
  #from = 0;
  #to = 0;
  #violation: Violation | undefined;

  constructor(handler: FrameHandler, maxBytes: number) {
    this.#handler = handler;
    this.#maxBytes = maxBytes;
  }

  /**
   * Reads `chunk`, which becomes the reader's (it is written to). `lines` are whole messages in order, each ended by a
   * newline, valid also when `violation` says that the rest must not be read. They may be overwritten after `sent`.
   */
  push(chunk: Buffer): { lines: Buffer[]; violation?: Violation } {
    this.#from = this.#to = 0;
    let at = this.#partial ? this.#resumeHeader(chunk) : 0;
    while (at < chunk.length && !this.#violation) at = this.#step(chunk, at);
    this.#flush(chunk);
    const lines = this.#lines;
    this.#lines = [];
    return this.#violation ? { lines, violation: this.#violation } : { lines };
  }

  /** All lines handed out so far have left: their buffers are used again. */
  sent(): void {
    if (this.#waiting.length === 0) return;
    for (const buffer of this.#waiting) large.give(buffer);
    this.#waiting = [];
  }

  /** One step from `at`: a piece of payload, a header, or a whole small frame. Returns where to go on. */
  #step(chunk: Buffer, at: number): number {
    if (this.#left > 0) return this.#payload(chunk, at);
    const available = chunk.length - at;
    if (available < 2 || available < clientHeaderBytes(chunk, at)) {
      this.#partial = Buffer.from(chunk.subarray(at));
      return chunk.length;
    }
    return this.#frame(chunk, at, at);
  }

  /** Completes a header that began in an earlier chunk; returns where its payload starts in this one. */
  #resumeHeader(chunk: Buffer): number {
    const partial = this.#partial ?? Buffer.alloc(0);
    const joined = Buffer.concat([partial, chunk.subarray(0, MAX_HEADER_BYTES - partial.length)]);
    if (joined.length < 2 || joined.length < clientHeaderBytes(joined, 0)) {
      this.#partial = joined;
      return chunk.length;
    }
    this.#partial = undefined;
    return this.#frame(joined, 0, -partial.length, chunk);
  }

  /** Reads the header in `source` at `at`; `base` is where that lies in the chunk. */
  #frame(source: Buffer, at: number, base: number, chunk = source): number {
    const header = this.#header;
    this.#violation = readClientHeader(source, at, header) ?? this.#refusal(header);
    if (this.#violation) return chunk.length;
    source.copy(this.#key, 0, at + header.bytes - 4, at + header.bytes);
    const start = base + header.bytes;
    if (base >= 0 && this.#isWhole(header, chunk.length - start)) {
      this.#compact(chunk, base, start);
      return start + header.length;
    }
    this.#begin(header, chunk);
    return start;
  }

  #isWhole(header: Header, available: number): boolean {
    return (
      header.opcode === OPCODE.text &&
      header.final &&
      header.length <= available &&
      !this.#fragmented
    );
  }

  #refusal(header: Header): Violation | undefined {
    const { opcode, length } = header;
    if (opcode >= OPCODE.close) return undefined;
    if (opcode === OPCODE.binary)
      return { code: 1003, reason: "Send text frames, not binary ones" };
    if (opcode > OPCODE.binary) return { code: 1002, reason: "Unknown opcode" };
    if ((opcode === OPCODE.continuation) !== this.#fragmented) {
      return { code: 1002, reason: "Fragments out of order" };
    }
    if (this.#filled + length > this.#maxBytes) {
      return { code: 1009, reason: `A message may have at most ${this.#maxBytes} bytes` };
    }
    return undefined;
  }

  /** The fast path: a whole message in this chunk moves down to the lines before it; its header made room for the newline. */
  #compact(chunk: Buffer, base: number, start: number): void {
    if (this.#to === this.#from) this.#from = this.#to = base;
    const to = this.#to;
    const end = to + this.#header.length;
    const stretch = { from: chunk, at: start, length: this.#header.length, phase: 0 };
    unmaskInto(chunk, to, stretch, this.#key);
    chunk[end] = NEWLINE;
    spacesForNewlines(chunk, to, end);
    if (this.#handler.accept(chunk, to, end)) this.#to = end + 1;
  }

  /** A frame that spans chunks, a fragment or a control frame: its payload is collected. */
  #begin(header: Header, chunk: Buffer): void {
    this.#left = header.length;
    this.#phase = 0;
    if (header.opcode >= OPCODE.close) this.#control = Buffer.allocUnsafe(header.length);
    else this.#reserve(header);
    if (header.length === 0) this.#frameDone(chunk);
  }

  /** Room for this frame and the newline; a fragmented message doubles, so that tiny fragments do not cost a copy each. */
  #reserve(header: Header): void {
    const needed = this.#filled + header.length + 1;
    this.#fragmented = true;
    if (this.#message && this.#message.length >= needed) return;
    const size = this.#message ? Math.max(needed, this.#message.length * 2) : needed;
    const grown = size < LARGE_BYTES ? Buffer.allocUnsafe(size) : large.take(size);
    if (this.#message) {
      this.#message.copy(grown, 0, 0, this.#filled);
      giveBack(this.#message);
    }
    this.#message = grown;
  }

  #payload(chunk: Buffer, at: number): number {
    const length = Math.min(this.#left, chunk.length - at);
    const stretch = { from: chunk, at, length, phase: this.#phase & 3 };
    const target = this.#control ?? this.#message ?? chunk;
    unmaskInto(target, this.#control ? this.#phase : this.#filled, stretch, this.#key);
    if (!this.#control) this.#filled += length;
    this.#phase += length;
    this.#left -= length;
    if (this.#left === 0) this.#frameDone(chunk);
    return at + length;
  }

  #frameDone(chunk: Buffer): void {
    const control = this.#control;
    if (control) {
      this.#control = undefined;
      this.#handler.control(this.#header.opcode, control);
    } else if (this.#header.final) this.#messageDone(chunk);
  }

  #messageDone(chunk: Buffer): void {
    const message = this.#message ?? Buffer.allocUnsafe(1);
    const end = this.#filled;
    this.#message = undefined;
    this.#filled = 0;
    this.#fragmented = false;
    if (!isUtf8(message.subarray(0, end))) {
      this.#violation = BAD_TEXT;
      return;
    }
    message[end] = NEWLINE;
    spacesForNewlines(message, 0, end);
    if (!this.#handler.accept(message, 0, end)) return giveBack(message);
    this.#flush(chunk);
    this.#lines.push(message.subarray(0, end + 1));
    if (message.length >= LARGE_BYTES && this.#waiting.length < MAX_WAITING) {
      this.#waiting.push(message);
    }
  }

  /** Hands over the lines that stand together in the chunk so far; bad text ends them. */
  #flush(chunk: Buffer): void {
    if (this.#to === this.#from) return;
    let region = chunk.subarray(this.#from, this.#to);
    this.#from = this.#to;
    if (!isUtf8(region)) {
      this.#violation = BAD_TEXT;
      region = region.subarray(0, validLines(region));
    }
    if (region.length > 0) this.#lines.push(region);
  }
}

function giveBack(message: Buffer): void {
  if (message.length >= LARGE_BYTES) large.give(message);
}

/** A newline can stand only between JSON tokens, so a space says the same. `buffer[end]` is the line's own newline. */
function spacesForNewlines(buffer: Buffer, start: number, end: number): void {
  let found = buffer.indexOf(NEWLINE, start);
  while (found < end) {
    buffer[found] = SPACE;
    found = buffer.indexOf(NEWLINE, found + 1);
  }
}

/** Length of the leading lines that are valid UTF-8. */
function validLines(region: Buffer): number {
  let start = 0;
  while (start < region.length) {
    const end = region.indexOf(NEWLINE, start) + 1;
    if (!isUtf8(region.subarray(start, end))) return start;
    start = end;
  }
  return start;
}
