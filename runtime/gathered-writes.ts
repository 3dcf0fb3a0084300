import type { Writable } from "node:stream";
import { LargeBuffers } from "#lib/buffer-pool.ts";

/** So much is gathered at most before it is written. */
const GATHER_BYTES = 64 * 1024;
/** A piece above this is written as it is: copying it would cost more than a place of its own in the system call. */
const PIECE_BYTES = 16 * 1024;
/** Below this a fresh buffer is cheaper than a pooled one. */
const POOLED_BYTES = 4 * 1024;
const MAX_UNUSED_BYTES = 2 * 1024 * 1024;
const joins = new LargeBuffers(MAX_UNUSED_BYTES);

/** Collects what one turn of the event loop has for a stream, and writes it in one system call; small pieces are joined first. */
export class GatheredWrites {
  readonly #stream: Writable;
  #pieces: Buffer[] = [];
  #bytes = 0;
  #large = false;

  constructor(stream: Writable) {
    this.#stream = stream;
  }

  /** Gathered and not yet given to the stream. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Shares the pieces until they have left; call `flush` at the end of the turn. */
  add(pieces: readonly Buffer[]): void {
    for (const piece of pieces) {
      this.#pieces.push(piece);
      this.#bytes += piece.length;
      this.#large ||= piece.length > PIECE_BYTES;
    }
    if (this.#bytes > GATHER_BYTES) this.flush();
  }

  /** What was gathered for a stream that has ended is dropped. */
  flush(): void {
    const pieces = this.#pieces;
    const bytes = this.#bytes;
    const large = this.#large;
    if (bytes === 0) return;
    this.#pieces = [];
    this.#bytes = 0;
    this.#large = false;
    if (this.#stream.destroyed || !this.#stream.writable) return;
    if (large || pieces.length === 1) this.#writeEach(pieces);
    else if (bytes < POOLED_BYTES) this.#stream.write(Buffer.concat(pieces, bytes));
    else this.#writeJoined(pieces, bytes);
  }

  #writeEach(pieces: readonly Buffer[]): void {
    this.#stream.cork();
    for (const piece of pieces) this.#stream.write(piece);
    this.#stream.uncork();
  }

  #writeJoined(pieces: readonly Buffer[], bytes: number): void {
    const joined = joins.take(bytes);
    let at = 0;
    for (const piece of pieces) {
      joined.set(piece, at);
      at += piece.length;
    }
    // A failed write has let go of the buffer as well.
    this.#stream.write(joined.subarray(0, bytes), () => joins.give(joined));
  }
}
