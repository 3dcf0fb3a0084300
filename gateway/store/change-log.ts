import type { DatabaseSync, StatementSync } from "node:sqlite";
import { crc32 } from "node:zlib";
import { DamagedFile } from "./failures.ts";

/** The changes of one document since its row in `documents` was written. */
export interface Tail {
  /** The document's version with all of them. */
  version: number;
  /** JSON, the oldest first; one for each version. */
  changes: Uint8Array[];
  /** Rows of the log before it are not needed for this document. */
  firstSeq: number;
  /** Its owner has been asked to commit it whole. */
  asked: boolean;
  /** One of them is damaged or missing: which ones follow cannot be known. */
  broken: boolean;
}

/** Where the documents' rows stand: uid → the version in the row, and the last row of the log that it contains. */
export type Snapshots = ReadonlyMap<string, { version: number; since: number }>;

interface Entry {
  uid: string;
  version: number;
  checksum: number;
  change: Uint8Array;
}

/**
 * What was committed since the documents' own rows were written: one row for each transaction, so that a commit costs what it changes
 * and not what the document weighs. Its rows are few, so their changes are kept in memory too.
 */
export class ChangeLog {
  readonly #insert: StatementSync;
  readonly #trim: StatementSync;
  readonly #select: StatementSync;
  /** In the order of `firstSeq`: the first one holds the log's oldest row. */
  readonly #tails = new Map<string, Tail>();
  /** Bytes of the rows by their number. */
  readonly #rows = new Map<number, number>();
  #bytes = 0;
  /** Bytes that came since somebody was asked to commit whole. */
  #unasked = 0;
  #nextSeq = 1;
  #pending: Entry[] = [];

  constructor(database: DatabaseSync) {
    this.#insert = database.prepare(
      "INSERT INTO log (seq, docs, checksum, changes) VALUES (?, ?, ?, ?)",
    );
    this.#trim = database.prepare("DELETE FROM log WHERE seq < ?");
    this.#select = database.prepare("SELECT seq, docs, checksum, changes FROM log ORDER BY seq");
  }

  /** Of all rows. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Number of the last row, with what is not flushed yet. */
  get lastSeq(): number {
    return this.#pending.length > 0 ? this.#nextSeq : this.#nextSeq - 1;
  }

  tail(uid: string): Tail | undefined {
    return this.#tails.get(uid);
  }

  /** Whose row has to be written anew before the oldest rows of the log can go. */
  oldest(): string | undefined {
    return this.#tails.keys().next().value;
  }

  /** Reads all rows. Throws {@link DamagedFile} for one that does not tell any more whose changes it holds. */
  load(snapshots: Snapshots): void {
    this.#tails.clear();
    this.#rows.clear();
    this.#pending = [];
    this.#bytes = 0;
    // Never a number again that a document's row may name.
    this.#nextSeq = 1;
    for (const { since } of snapshots.values()) this.#nextSeq = Math.max(this.#nextSeq, since + 1);
    for (const row of this.#select.iterate()) {
      const seq = Number(row["seq"]);
      const [docs, changes] = [String(row["docs"]), row["changes"] as Uint8Array];
      if (crc32(`${seq}\n${docs}`) !== row["checksum"]) throw damaged(seq);
      for (const entry of entriesOf(docs, changes)) {
        const snapshot = snapshots.get(entry.uid);
        if (snapshot && seq > snapshot.since) this.#replay(entry, snapshot.version, seq);
      }
      this.#count(seq, docs.length + changes.length);
      this.#nextSeq = Math.max(this.#nextSeq, seq + 1);
    }
  }

  #replay(entry: Entry, snapshotVersion: number, seq: number): void {
    const { uid, version, change } = entry;
    const tail = this.#tailFrom(uid, snapshotVersion, seq);
    if (version !== tail.version + 1 || checksum(uid, version, change) !== entry.checksum) {
      tail.broken = true;
    }
    tail.version = version;
    tail.changes.push(change);
  }

  #tailFrom(uid: string, version: number, firstSeq: number): Tail {
    const found = this.#tails.get(uid);
    if (found) return found;
    const tail = { version, changes: [], firstSeq, asked: false, broken: false };
    this.#tails.set(uid, tail);
    return tail;
  }

  /** `before` = the version that it changes. Written by `flush`. */
  append(uid: string, before: number, change: Uint8Array): void {
    const version = before + 1;
    const tail = this.#tailFrom(uid, before, this.#nextSeq);
    tail.version = version;
    tail.changes.push(change);
    this.#pending.push({ uid, version, change, checksum: checksum(uid, version, change) });
  }

  /** One row for everything since the last one. */
  flush(): void {
    if (this.#pending.length === 0) return;
    const index = this.#pending.map(({ uid, version, checksum: sum, change }) => {
      return [uid, version, sum, change.length];
    });
    const docs = JSON.stringify(index);
    const changes = joined(this.#pending.map(({ change }) => change));
    const seq = this.#nextSeq;
    this.#insert.run(seq, docs, crc32(`${seq}\n${docs}`), changes);
    this.#count(seq, docs.length + changes.length);
    this.#nextSeq += 1;
    this.#pending = [];
  }

  #count(seq: number, bytes: number): void {
    this.#rows.set(seq, bytes);
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

  /** Deletes the rows that no document needs. */
  trim(): void {
    const oldest = this.#tails.values().next().value?.firstSeq ?? this.#nextSeq;
    const [first] = this.#rows.keys();
    if (first === undefined || first >= oldest) return;
    this.#trim.run(oldest);
    for (const [seq, bytes] of this.#rows) {
      if (seq >= oldest) break;
      this.#rows.delete(seq);
      this.#bytes -= bytes;
    }
  }
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
  const index = JSON.parse(docs) as [string, number, number, number][];
  let at = 0;
  return index.map(([uid, version, sum, length]) => {
    return { uid, version, checksum: sum, change: changes.subarray(at, (at += length)) };
  });
}

function damaged(seq: number): DamagedFile {
  return new DamagedFile(`row ${seq} of the log does not tell which sessions it belongs to`);
}
