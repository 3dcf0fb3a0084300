/** Output is kept as `<time> <stream> <F|P> <text>\n`; P = the line goes on in the next one. */
export type LogStream = "stdout" | "stderr";

/** A longer line is kept in parts. */
export const MAX_PART_BYTES = 16 * 1024;
const NEWLINE = 10;

/** Cuts one stream into kept lines. */
export class LineCutter {
  readonly #stream: LogStream;
  #rest: Buffer = Buffer.alloc(0);

  constructor(stream: LogStream) {
    this.#stream = stream;
  }

  /** The complete lines and full parts that `chunk` brings to an end. */
  push(chunk: Buffer, time: Date): Buffer {
    let bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    const parts: Buffer[] = [];
    for (;;) {
      const end = bytes.indexOf(NEWLINE);
      const full = end < 0 || end > MAX_PART_BYTES;
      if (full && bytes.length < MAX_PART_BYTES) break;
      const length = full ? MAX_PART_BYTES : end;
      parts.push(this.#line(bytes.subarray(0, length), full ? "P" : "F", time));
      bytes = bytes.subarray(full ? length : length + 1);
    }
    this.#rest = Buffer.from(bytes);
    return Buffer.concat(parts);
  }

  /** What is left when the stream ends without a newline. */
  end(time: Date): Buffer {
    const rest = this.#rest;
    this.#rest = Buffer.alloc(0);
    return rest.length > 0 ? this.#line(rest, "P", time) : rest;
  }

  #line(text: Buffer, tag: "F" | "P", time: Date): Buffer {
    const head = `${time.toISOString().replace("Z", "000000Z")} ${this.#stream} ${tag} `;
    return Buffer.concat([Buffer.from(head), text, Buffer.from("\n")]);
  }
}

export interface LogView {
  timestamps?: boolean | undefined;
  /** Milliseconds since the epoch; earlier lines are left out. */
  sinceMs?: number | undefined;
}

/** Kept lines (whole ones) as a person reads them. */
export function renderLines(kept: Buffer, { timestamps, sinceMs }: LogView): Buffer {
  const parts: Buffer[] = [];
  for (let start = 0; start < kept.length; ) {
    const newline = kept.indexOf(NEWLINE, start);
    const end = newline < 0 ? kept.length : newline;
    const line = kept.subarray(start, end);
    const time = line.indexOf(32);
    const tag = line.indexOf(32, time + 1) + 1;
    const stamp = line.subarray(0, time).toString("latin1");
    start = end + 1;
    if (sinceMs !== undefined && Date.parse(stamp) < sinceMs) continue;
    if (timestamps) parts.push(Buffer.from(`${stamp} `));
    const partial = line[tag] === 80;
    parts.push(line.subarray(tag + 2));
    if (!partial || timestamps) parts.push(Buffer.from("\n"));
  }
  return Buffer.concat(parts);
}

/** The part of `kept` that holds its last `count` lines. */
export function lastLines(kept: Buffer, count: number): Buffer {
  let position = kept.length;
  for (let lines = 0; position > 0; lines += 1) {
    const start = kept.lastIndexOf(NEWLINE, position - 2) + 1;
    if (lines >= count) return kept.subarray(position);
    if (position < 2) return kept;
    position = start;
  }
  return kept;
}
