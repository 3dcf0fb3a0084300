const MAX_LINES = 20;
const MAX_CHARACTERS = 4096;
/** Enough for the lines that are kept, whatever their characters are. */
const KEPT_BYTES = 64 * 1024;

/** The end of a program's output, in bounded memory. */
export class OutputTail {
  #kept: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): void {
    const joined = Buffer.concat([this.#kept, chunk]);
    this.#kept = joined.length > KEPT_BYTES ? Buffer.from(joined.subarray(-KEPT_BYTES)) : joined;
  }

  /** The last 20 lines, `reason` the very last; at most 4096 characters, shortened at the beginning. */
  text(reason: string): string {
    const lines = this.#kept
      .toString("utf8")
      .split(/\r\n|\n|\r/)
      .filter((line) => line.trim());
    return [...lines.slice(1 - MAX_LINES), reason].join("\n").slice(-MAX_CHARACTERS).toWellFormed();
  }
}
