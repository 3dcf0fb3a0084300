import { BufferPool } from "#lib/buffer-pool.ts";
import { headerBytes, OPCODE, writeHeader } from "#lib/frames.ts";

const NEWLINE = 10;
/** From here on a line is not copied together: header and pieces leave in one writev. */
const ZERO_COPY_BYTES = 16 * 1024;
/** A read smaller than this is copied, so that a kept buffer is never mostly empty. */
const KEEP_BYTES = 32 * 1024;
const SMALL_BYTES = 4096;
const MAX_SMALL_PIECES = 256;
/** Read budget: bytes that one socket may bring per turn of the loop, so that a flood cannot starve its neighbours. */
export const READ_BYTES = 64 * 1024;
/** Smaller output comes from Node's own pool: it would waste a buffer of ours. */
const POOLED_OUTPUT_BYTES = 16 * 1024;
/** For the lines of one read: a frame's header takes the place of the newline and at most one byte more for two. */
const OUTPUT_BYTES = 2 * READ_BYTES;
const outputs = new BufferPool(OUTPUT_BYTES, 16);
/** For those who read bridges: `push` keeps what it is given as `owned`, `sent` gives it back. */
export const readBuffers = new BufferPool(READ_BYTES, 64);

/** Ends of the lines of one chunk; shared, because a chunk is worked off in one go. */
let ends = new Uint32Array(4096);

/**
 * Turns an upstream's JSON lines into text frames: one output buffer per chunk, long lines as the pieces they came in.
 * An unfinished line is kept as a list of pieces, at most `maxBytes` together.
 */
export class LineFramer {
  readonly #maxBytes: number;
  #pieces: Buffer[] | undefined;
  #kept = 0;
  /** Small pieces at the end of the list. */
  #small = 0;
  /** Read buffers in the unfinished line. */
  #owned: Buffer[] = [];
  /** Buffers of frames that were handed out and may still wait to leave. */
  #waitingReads: Buffer[] = [];
  #waitingOutputs: Buffer[] = [];

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** In a long line the next chunk is better read into a buffer of its own, which can then leave without a copy. */
  get inLongLine(): boolean {
    return this.#kept >= ZERO_COPY_BYTES;
  }

  /** The unfinished line is longer than allowed: the connection has to end. */
  get overflowed(): boolean {
    return this.#kept > this.#maxBytes;
  }

  /**
   * Frames for the lines that `chunk` completes, in order; empty lines are left out. The chunk is only borrowed
   * unless `owned` (a buffer of `readBuffers`): then buffers of the result, and the rest kept here, may be parts of it;
   * `kept` says so. The frames are used again after `sent`.
   */
  push(chunk: Buffer, owned: boolean): { frames: Buffer[]; kept: boolean } {
    const first = chunk.indexOf(NEWLINE);
    const keep = owned && chunk.length >= KEEP_BYTES;
    if (first < 0) {
      this.#keep(chunk, keep);
      return { frames: [], kept: keep };
    }
    const frames: Buffer[] = [];
    let start = 0;
    if (this.#pieces) {
      this.#keep(chunk.subarray(0, first), keep);
      this.#finish(frames);
      start = first + 1;
    }
    start = this.#frameLines(chunk, start, frames);
    if (start < chunk.length) this.#keep(chunk.subarray(start), false);
    return { frames, kept: keep && frames.length > 0 };
  }

  /** Everything handed out so far has left: its buffers are used again. */
  sent(): void {
    for (const buffer of this.#waitingReads) readBuffers.give(buffer);
    for (const buffer of this.#waitingOutputs) outputs.give(buffer);
    if (this.#waitingReads.length > 0) this.#waitingReads = [];
    if (this.#waitingOutputs.length > 0) this.#waitingOutputs = [];
  }

  #keep(piece: Buffer, owned: boolean): void {
    if (piece.length === 0 && !this.#pieces) return;
    this.#pieces ??= [];
    this.#pieces.push(owned ? piece : Buffer.from(piece));
    if (owned) this.#owned.push(piece);
    this.#kept += piece.length;
    this.#small = piece.length < SMALL_BYTES ? this.#small + 1 : 0;
    if (this.#small < MAX_SMALL_PIECES) return;
    // A line that trickles in must not cost an object per byte.
    this.#pieces.push(Buffer.concat(this.#pieces.splice(-MAX_SMALL_PIECES)));
    this.#small = 0;
  }

  #finish(frames: Buffer[]): void {
    const pieces = this.#pieces ?? [];
    const length = this.#kept;
    this.#pieces = undefined;
    this.#kept = this.#small = 0;
    const header = Buffer.allocUnsafe(headerBytes(length));
    writeHeader(header, 0, OPCODE.text, length);
    if (length >= ZERO_COPY_BYTES) frames.push(header, ...pieces);
    else if (length > 0) frames.push(Buffer.concat([header, ...pieces]));
    if (this.#owned.length === 0) return;
    this.#waitingReads.push(...this.#owned);
    this.#owned = [];
  }

  /** Frames all whole lines of `chunk` from `start` on into one buffer; returns the start of the unfinished rest. */
  #frameLines(chunk: Buffer, start: number, frames: Buffer[]): number {
    const found = findLines(chunk, start);
    if (found.size === 0) return found.rest;
    const pooled = found.size >= POOLED_OUTPUT_BYTES && found.size <= OUTPUT_BYTES;
    const target = pooled ? outputs.take().subarray(0, found.size) : Buffer.allocUnsafe(found.size);
    if (pooled) this.#waitingOutputs.push(target);
    frames.push(target);
    copyLines(chunk, target, { start, count: found.count });
    return found.rest;
  }
}

/** Ends of the lines from `start` on, in `ends`; `size` is what they take as frames, `rest` where the unfinished one starts. */
function findLines(chunk: Buffer, start: number): { count: number; size: number; rest: number } {
  let count = 0;
  let size = 0;
  let from = start;
  for (
    let end = chunk.indexOf(NEWLINE, from);
    end >= 0;
    from = end + 1, end = chunk.indexOf(NEWLINE, from)
  ) {
    if (count === ends.length) ends = grown(ends);
    ends[count] = end;
    count += 1;
    if (end > from) size += headerBytes(end - from) + end - from;
  }
  return { count, size, rest: from };
}

function grown(list: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const next = new Uint32Array(list.length * 2);
  next.set(list);
  return next;
}

function copyLines(
  chunk: Buffer,
  target: Buffer,
  { start, count }: { start: number; count: number },
): void {
  let from = start;
  let at = 0;
  for (let index = 0; index < count; index += 1) {
    const end = ends[index] ?? from;
    if (end > from) {
      at = writeHeader(target, at, OPCODE.text, end - from);
      // TypedArray.set costs less than Buffer.copy here.
      target.set(chunk.subarray(from, end), at);
      at += end - from;
    }
    from = end + 1;
  }
}
