import { headerBytes, OPCODE, writeHeader } from "#lib/frames.ts";

const NEWLINE = 10;
/** From here on a line is not copied together: header and pieces leave in one writev. */
const ZERO_COPY_BYTES = 16 * 1024;
/** A read smaller than this is copied, so that a kept buffer is never mostly empty. */
const KEEP_BYTES = 32 * 1024;
const SMALL_BYTES = 4096;
const MAX_SMALL_PIECES = 256;

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
   * unless `owned`: then buffers of the result, and the rest kept here, may be parts of it; `kept` says so.
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
    start = frameLines(chunk, start, frames);
    if (start < chunk.length) this.#keep(chunk.subarray(start), false);
    return { frames, kept: keep && frames.length > 0 };
  }

  #keep(piece: Buffer, owned: boolean): void {
    if (piece.length === 0 && !this.#pieces) return;
    this.#pieces ??= [];
    this.#pieces.push(owned ? piece : Buffer.from(piece));
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
  }
}

/** Frames all whole lines of `chunk` from `start` on into one buffer; returns the start of the unfinished rest. */
function frameLines(chunk: Buffer, start: number, frames: Buffer[]): number {
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
  if (size > 0) frames.push(copyLines(chunk, { start, count, size }));
  return from;
}

function grown(list: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const next = new Uint32Array(list.length * 2);
  next.set(list);
  return next;
}

function copyLines(
  chunk: Buffer,
  { start, count, size }: { start: number; count: number; size: number },
): Buffer {
  const target = Buffer.allocUnsafe(size);
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
  return target;
}
