import {
  closeSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  openSync,
  readdirSync,
  readFileSync,
  writeSync,
  writevSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { FailedSync } from "./failures.ts";
import { headerOf, type LogRecord, recordsIn } from "./log-record.ts";

/** A record that does not fit into the rest of a segment begins the next one. */
const SEGMENT_BYTES = 4 * 1024 * 1024;
/** A new segment grows by zeros ahead of the records: syncing bytes that lie in a file already costs half. */
const GROWTH_BYTES = 64 * 1024;

interface Segment {
  path: string;
  file: number;
  /** Behind the last record. */
  end: number;
  /** Of the file. */
  size: number;
  /** Number of its last record; 0 = it has none. */
  lastSeq: number;
}

/**
 * The log's records in files that are written over once nobody needs what is in them: `<prefix>-1.log`, `<prefix>-2.log`, … All calls
 * block. Whoever opens it holds the database beside it, so nobody else does.
 */
export class LogSegments {
  readonly #prefix: string;
  readonly #segments: Segment[] = [];
  #current: Segment | undefined;
  readonly #unsynced = new Set<Segment>();

  constructor(prefix: string) {
    this.#prefix = prefix;
    for (const name of readdirSync(dirname(prefix))) {
      const path = join(dirname(prefix), name);
      if (NUMBERED.exec(path)?.[1] === prefix) this.#add(path, openSync(path, "r+"));
    }
  }

  /** All records that there are, by their numbers; also old ones that nobody needs. */
  load(): LogRecord[] {
    const all = this.#segments.flatMap((segment) => {
      const records = recordsIn(readFileSync(segment.path));
      const last = records.reduce((max, each) => (each.seq > max.seq ? each : max), NONE);
      segment.lastSeq = last.seq;
      segment.end = last.end;
      return records;
    });
    this.#current = this.#segments.reduce<Segment | undefined>(
      (newest, each) => (each.lastSeq > (newest?.lastSeq ?? 0) ? each : newest),
      undefined,
    );
    return all.sort((a, b) => a.seq - b.seq);
  }

  /** The newest record was never finished: the next one takes its place. */
  drop(record: LogRecord): void {
    if (!this.#current) return;
    this.#current.end = record.start;
    this.#current.lastSeq = record.seq - 1;
  }

  /** Writes a record whose numbers follow the last one's. Durable after `sync`. Throws what the disk says; then nothing was added. */
  append(record: { seq: number; oldest: number; docs: string; changes: Uint8Array }): void {
    const header = headerOf(record);
    const bytes = header.length + record.changes.length;
    const segment = this.#place(bytes, record.oldest);
    const missing = segment.end + bytes - segment.size;
    if (missing > 0) this.#grow(segment, Math.max(missing, GROWTH_BYTES));
    this.#unsynced.add(segment);
    writeAll(segment.file, [header, record.changes], segment.end);
    segment.end += bytes;
    segment.lastSeq = record.seq;
    this.#current = segment;
  }

  /** Throws {@link FailedSync}. */
  sync(): void {
    try {
      for (const { file } of this.#unsynced) fdatasyncSync(file);
    } catch (error) {
      throw new FailedSync(error);
    }
    this.#unsynced.clear();
  }

  close(): void {
    for (const { file } of this.#segments) closeSync(file);
  }

  /** Where so many bytes go: behind the last record, else over records that all lie before `oldest`, else into a new file. */
  #place(bytes: number, oldest: number): Segment {
    const current = this.#current;
    if (current && (current.end === 0 || current.end + bytes <= SEGMENT_BYTES)) return current;
    const free = this.#segments
      .filter((each) => each !== current && each.lastSeq < oldest)
      .sort((a, b) => a.lastSeq - b.lastSeq)[0];
    const segment = free ?? this.#make();
    segment.end = 0;
    segment.lastSeq = 0;
    return segment;
  }

  #make(): Segment {
    const numbers = this.#segments.map(({ path }) => Number(NUMBERED.exec(path)?.[2]));
    const path = `${this.#prefix}-${Math.max(0, ...numbers) + 1}.log`;
    const segment = this.#add(path, openSync(path, "wx+", 0o600));
    const folder = openSync(dirname(path), "r");
    fsyncSync(folder);
    closeSync(folder);
    return segment;
  }

  #add(path: string, file: number): Segment {
    const segment = { path, file, end: 0, size: fstatSync(file).size, lastSeq: 0 };
    this.#segments.push(segment);
    return segment;
  }

  #grow(segment: Segment, bytes: number): void {
    writeAll(segment.file, [Buffer.alloc(bytes)], segment.size);
    segment.size += bytes;
  }
}

const NONE = { seq: 0, end: 0 };
const NUMBERED = /^(.+)-([1-9][0-9]*)\.log$/;

function writeAll(file: number, parts: Uint8Array[], at: number): void {
  const total = parts.reduce((sum, { length }) => sum + length, 0);
  let written = writevSync(file, parts, at);
  if (written === total) return;
  const whole = Buffer.concat(parts, total);
  while (written < total) {
    written += writeSync(file, whole, written, total - written, at + written);
  }
}
