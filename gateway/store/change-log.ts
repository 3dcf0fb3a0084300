import { crc32 } from "node:zlib";
import { DamagedFile } from "./failures.ts";
import type { LogRecord } from "./log-record.ts";
import { LogSegments } from "./log-segments.ts";

/** The changes of one document since its row in `documents` was written. */
export interface Tail {
  /** The document's version with all of them. */
  version: number;
  /** JSON, the oldest first; one for each version, of which the first may set the document as a whole. */
  changes: Uint8Array[];
  /** Records of the log before it are not needed for this document. */
  firstSeq: number;
  /** Its owner has been asked to commit it whole. */
  asked: boolean;
  /** One of them is damaged or missing: which ones follow cannot be known. */
  broken: boolean;
}

/** Where the documents' rows stand: uid → the version in the row, and the last record of the log that it contains. */
export type Snapshots = ReadonlyMap<string, { version: number; since: number }>;

interface Entry {
  uid: string;
  version: number;
  checksum: number;
  change: Uint8Array;
  /** It sets the document as a whole: nothing before it is needed. */
  whole: boolean;
}

/** Taken, and not written yet. */
interface Pending extends Entry {
  /** What a whole document took the place of. */
  replaced?: Tail | undefined;
}

/**
 * What was committed since the documents' own rows were written: one record for all that waited, so that a commit costs what it changes
 * and not what the document weighs. They are few, so their changes are kept in memory too.
 */
export class ChangeLog {
  readonly #segments: LogSegments;
  /** In the order of `firstSeq`: the first one holds the log's oldest record. */
  readonly #tails = new Map<string, Tail>();
  /** Bytes of the records by their number. */
  readonly #sizes = new Map<number, number>();
  #bytes = 0;
  /** Bytes that came since somebody was asked to commit whole. */
  #unasked = 0;
  #nextSeq = 1;
  #pending: Pending[] = [];

  /** `prefix` = path of its files up to their number. */
  constructor(prefix: string) {
    this.#segments = new LogSegments(prefix);
  }

  /** Of all records. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Number of the last record that is on the disk. */
  get lastSeq(): number {
    return this.#nextSeq - 1;
  }

  tail(uid: string): Tail | undefined {
    return this.#tails.get(uid);
  }

  /** Whose row has to be written anew before the oldest records of the log can go. */
  oldest(): string | undefined {
    return this.#tails.keys().next().value;
  }

  /** Reads all records. Throws {@link DamagedFile} when one is missing that may have held anybody's changes. */
  load(snapshots: Snapshots): void {
    this.#tails.clear();
    this.#sizes.clear();
    this.#pending = [];
    this.#bytes = 0;
    const known = Math.max(0, ...[...snapshots.values()].map(({ since }) => since));
    const records = this.#finished(this.#segments.load(), known);
    this.#nextSeq = (records.at(-1)?.seq ?? 0) + 1;
    const needed = demandAll(records, known);
    for (const [uid, tail] of tailsOf(needed, snapshots)) this.#tails.set(uid, tail);
    for (const { seq, docs, changes } of needed) this.#count(seq, docs.length + changes.length);
  }

  /** Without the last record where it was cut off in the writing: nobody was told of it, and no row names it. */
  #finished(records: LogRecord[], known: number): LogRecord[] {
    const last = records.at(-1);
    if (!last || last.seq <= known || entriesOf(last.docs, last.changes).every(isIntact)) {
      return records;
    }
    this.#segments.drop(last);
    return records.slice(0, -1);
  }

  /** `before` = the version that it changes. Written by `flush`. */
  append(uid: string, before: number, change: Uint8Array, whole: boolean): void {
    const version = before + 1;
    const replaced = whole ? this.#tails.get(uid) : undefined;
    if (whole) this.#tails.delete(uid);
    const tail = tailIn(this.#tails, uid, { version: before, firstSeq: this.#nextSeq });
    tail.version = version;
    tail.changes.push(change);
    const sum = checksum(uid, version, change);
    this.#pending.push({ uid, version, change, checksum: sum, whole, replaced });
  }

  /** Writes and syncs one record with everything since the last one. Throws what the disk says; `forgetPending` tells whether it goes on. */
  flush(): void {
    if (this.#pending.length === 0) return;
    const docs = JSON.stringify(this.#pending.map(indexed));
    const changes = joined(this.#pending.map(({ change }) => change));
    const seq = this.#nextSeq;
    this.#segments.append({ seq, oldest: this.#oldestSeq(), docs, changes });
    this.#nextSeq += 1;
    this.#segments.sync();
    this.#count(seq, docs.length + changes.length);
    if (this.#pending.some(({ whole }) => whole)) this.trim();
    this.#pending = [];
  }

  /** After a record that could not be written: its changes were never there. */
  forgetPending(): void {
    for (const each of this.#pending.toReversed()) this.#takeBack(each);
    this.#pending = [];
    // The first one has to hold the oldest record again.
    const tails = [...this.#tails].sort(([, a], [, b]) => a.firstSeq - b.firstSeq);
    this.#tails.clear();
    for (const [uid, tail] of tails) this.#tails.set(uid, tail);
  }

  #takeBack({ uid, replaced }: Pending): void {
    const tail = this.#tails.get(uid);
    if (!tail) return;
    tail.version -= 1;
    tail.changes.pop();
    if (tail.changes.length > 0) return;
    if (replaced) this.#tails.set(uid, replaced);
    else this.#tails.delete(uid);
  }

  #oldestSeq(): number {
    return this.#tails.values().next().value?.firstSeq ?? this.#nextSeq;
  }

  #count(seq: number, bytes: number): void {
    this.#sizes.set(seq, bytes);
    this.#bytes += bytes;
    this.#unasked += bytes;
  }

  /** Each document is due once while `bytes` are written. */
  due(bytes: number): string | undefined {
    if (this.#unasked < bytes / this.#tails.size) return undefined;
    for (const [uid, tail] of this.#tails) {
      if (tail.asked) continue;
      tail.asked = true;
      this.#unasked = 0;
      return uid;
    }
    return undefined;
  }

  /** The document's row holds everything now, or the document is gone. */
  forget(uid: string): void {
    this.#tails.delete(uid);
  }

  /** Leaves the records that no document needs to those who come. */
  trim(): void {
    const oldest = this.#oldestSeq();
    for (const [seq, bytes] of this.#sizes) {
      if (seq >= oldest) break;
      this.#sizes.delete(seq);
      this.#bytes -= bytes;
    }
  }

  close(): void {
    this.#segments.close();
  }
}

/** What records, oldest first, hold for the documents beyond their rows. */
export function tailsOf(
  records: Pick<LogRecord, "seq" | "docs" | "changes">[],
  snapshots: Snapshots,
): Map<string, Tail> {
  const tails = new Map<string, Tail>();
  for (const { seq, docs, changes } of records) {
    for (const entry of entriesOf(docs, changes)) {
      const snapshot = snapshots.get(entry.uid);
      if (!snapshot || seq <= snapshot.since) continue;
      if (entry.whole && isIntact(entry)) tails.delete(entry.uid);
      const version = entry.whole ? entry.version - 1 : snapshot.version;
      const tail = tailIn(tails, entry.uid, { version, firstSeq: seq });
      if (entry.version !== tail.version + 1 || !isIntact(entry)) tail.broken = true;
      tail.version = entry.version;
      tail.changes.push(entry.change);
    }
  }
  return tails;
}

function tailIn(
  tails: Map<string, Tail>,
  uid: string,
  start: { version: number; firstSeq: number },
): Tail {
  const found = tails.get(uid);
  if (found) return found;
  const tail = { ...start, changes: [], asked: false, broken: false };
  tails.set(uid, tail);
  return tail;
}

/** From the first one that was needed when the last one was written; `known` = one that was on the disk for sure. */
function demandAll(records: LogRecord[], known: number): LogRecord[] {
  const last = records.at(-1);
  if ((last?.seq ?? 0) < known) throw damaged(known);
  if (!last) return [];
  const needed = records.filter(({ seq }) => seq >= last.oldest);
  const seqs = new Set(needed.map(({ seq }) => seq));
  for (let seq = last.oldest; seq < last.seq; seq += 1) if (!seqs.has(seq)) throw damaged(seq);
  return needed;
}

function isIntact({ uid, version, change, checksum: sum }: Entry): boolean {
  return checksum(uid, version, change) === sum;
}

function checksum(uid: string, version: number, change: Uint8Array): number {
  return crc32(change, crc32(`${uid}\n${version}\n`));
}

/** Mostly they lie side by side in one piece of memory already. */
function joined(parts: Uint8Array[]): Uint8Array {
  const [first, last] = [parts[0], parts.at(-1)];
  const total = parts.reduce((sum, { length }) => sum + length, 0);
  if (first && last?.buffer === first.buffer) {
    const whole = new Uint8Array(
      first.buffer,
      first.byteOffset,
      last.byteOffset + last.length - first.byteOffset,
    );
    if (whole.length === total) return whole;
  }
  return Buffer.concat(parts, total);
}

function entriesOf(docs: string, changes: Uint8Array): Entry[] {
  const index = JSON.parse(docs) as Indexed[];
  let at = 0;
  return index.map(([uid, version, sum, length, whole]) => {
    const change = changes.subarray(at, (at += length));
    return { uid, version, checksum: sum, change, whole: whole === 1 };
  });
}

/** An entry as the record's head tells it: uid, version, checksum, bytes, and 1 where it sets the document as a whole. */
type Indexed = [string, number, number, number, 1?];

function indexed({ uid, version, checksum: sum, change, whole }: Entry): Indexed {
  return whole ? [uid, version, sum, change.length, 1] : [uid, version, sum, change.length];
}

function damaged(seq: number): DamagedFile {
  return new DamagedFile(`record ${seq} of the log is missing or does not tell whose it is`);
}
