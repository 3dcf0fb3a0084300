const NEWLINE = 10;

/** Limits on one line, newline included. An app-server's 1 MiB answer is one line, so these are far above that. */
export const MAX_APP_SERVER_LINE_BYTES = 64 * 1024 * 1024;
export const MAX_PEER_LINE_BYTES = 16 * 1024 * 1024;

export interface LineSplitterOptions {
  /** Longest line, newline included. */
  maxBytes: number;
  /** After a line that is too long: `stop` reads nothing more, `skip` goes on behind its newline. */
  onOverflow: "stop" | "skip";
}

export interface SplitLines {
  /** Whole lines in order, each with its newline, bytes as they came. Slices of the chunks: copy what you keep long. */
  lines: Buffer[];
  /** How many lines began to exceed the limit in this chunk; with `stop` the lines are those before it. */
  overflows: number;
}

/**
 * Splits bytes into lines on byte 10 only: U+2028, `\r` and form feed do not end a line, and no byte of a longer
 * UTF-8 character is 10. A line that spans chunks is kept as a list and joined once. Memory: one line of `maxBytes`.
 */
export class LineSplitter {
  readonly #maxBytes: number;
  readonly #stops: boolean;
  #parts: Buffer[] = [];
  #partBytes = 0;
  #skipping = false;
  #stopped = false;

  constructor({ maxBytes, onOverflow }: LineSplitterOptions) {
    this.#maxBytes = maxBytes;
    this.#stops = onOverflow === "stop";
  }

  push(chunk: Buffer): SplitLines {
    const found: SplitLines = { lines: [], overflows: 0 };
    let at = 0;
    while (at < chunk.length && !this.#stopped) {
      const newline = chunk.indexOf(NEWLINE, at);
      const end = newline < 0 ? chunk.length : newline + 1;
      this.#take(chunk.subarray(at, end), newline >= 0, found);
      at = end;
    }
    return found;
  }

  /** What came after the last newline, e.g. a last line without one; the splitter is empty after that. */
  rest(): Buffer {
    const rest = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#partBytes = 0;
    return rest;
  }

  #take(piece: Buffer, ended: boolean, found: SplitLines): void {
    if (this.#skipping) {
      this.#skipping = !ended;
      return;
    }
    if (this.#partBytes + piece.length > this.#maxBytes) {
      this.#overflow(ended, found);
    } else if (ended) {
      found.lines.push(this.#join(piece));
    } else {
      this.#parts.push(piece);
      this.#partBytes += piece.length;
    }
  }

  #overflow(ended: boolean, found: SplitLines): void {
    found.overflows += 1;
    this.#parts = [];
    this.#partBytes = 0;
    this.#stopped = this.#stops;
    this.#skipping = !ended;
  }

  #join(last: Buffer): Buffer {
    if (this.#parts.length === 0) return last;
    this.#parts.push(last);
    return this.rest();
  }
}
