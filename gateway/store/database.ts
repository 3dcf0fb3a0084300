import { createHash } from "node:crypto";
import { extname } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import { applied, type Change } from "./change.ts";
import { ChangeLog, type Snapshots, type Tail, tailsOf } from "./change-log.ts";
import { DamagedFile, isFull } from "./failures.ts";
import { dropFormerLog, formerLog, prepareDatabase } from "./schema.ts";
import { UnreadableDocument } from "./unreadable.ts";

/** Above it each flush writes one document whole, the one whose changes hold the log's oldest records. */
const MAX_LOG_BYTES = 32 * 1024 * 1024;

interface Row {
  version: number;
  since: number;
  checksum: string;
  body: string;
}

/**
 * The documents in one SQLite file, which this connection holds exclusively: a row each, and the changes since in a log beside it. All
 * calls block: it belongs into a worker.
 */
export class DocumentTable {
  readonly #database: DatabaseSync;
  readonly #begin: StatementSync;
  readonly #commit: StatementSync;
  readonly #select: StatementSync;
  readonly #upsert: StatementSync;
  readonly #delete: StatementSync;
  readonly #log: ChangeLog;
  readonly #maxLogBytes: number;
  /** Versions of the rows that this process wrote or checked: no second checksum before a commit. */
  readonly #known = new Map<string, number>();

  /** Throws an SQLite error, `SQLITE_BUSY` (5) while another process holds the file; {@link DamagedFile} for a file that is damaged as a whole. */
  constructor(path: string, maxLogBytes = MAX_LOG_BYTES) {
    this.#maxLogBytes = maxLogBytes;
    const database = new DatabaseSync(path, { timeout: 0 });
    try {
      prepareDatabase(database);
      this.#begin = database.prepare("BEGIN IMMEDIATE");
      this.#commit = database.prepare("COMMIT");
      this.#select = database.prepare(
        "SELECT version, since, checksum, body FROM documents WHERE uid = ?",
      );
      this.#upsert = database.prepare(
        "INSERT INTO documents (uid, version, since, checksum, body) VALUES (?, ?, ?, ?, ?) ON CONFLICT (uid) DO UPDATE SET version = excluded.version, since = excluded.since, checksum = excluded.checksum, body = excluded.body",
      );
      this.#delete = database.prepare("DELETE FROM documents WHERE uid = ?");
      this.#database = database;
      this.#demandSoundness();
      this.#log = new ChangeLog(path.slice(0, -extname(path).length));
      this.#takeOverFormerLog();
      this.#load();
    } catch (error) {
      database.close();
      throw error;
    }
  }

  /**
   * Runs `work`, which writes or removes whole documents, in one transaction with one sync at its end; rolled back when it throws. No
   * change may wait for its `flush`.
   */
  transaction(work: () => void): void {
    this.#begin.run();
    try {
      work();
      this.#commit.run();
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      this.#load();
      throw error;
    }
    this.#log.trim();
  }

  read(uid: string): { version: number; body: string } | undefined {
    return this.#read(uid, this.#log.tail(uid));
  }

  #read(
    uid: string,
    tail: Pick<Tail, "version" | "changes" | "broken"> | undefined,
  ): { version: number; body: string } | undefined {
    const row = this.#select.get(uid) as Row | undefined;
    if (!row) return undefined;
    if (row.checksum !== checksum(uid, row)) throw unreadable(uid);
    const body = tail && tail.changes.length > 0 ? replay(uid, row, tail) : row.body;
    this.#known.set(uid, row.version);
    return { version: tail?.version ?? row.version, body };
  }

  /** Writes the document whole. */
  commit(uid: string, expected: number, body: string): void {
    this.#expect(uid, expected);
    this.#write(uid, expected + 1, body);
  }

  /** Writes the document whole in the place of any other; answers its version. */
  overwrite(uid: string, body: string): number {
    const row = this.#select.get(uid) as Row | undefined;
    const version = (this.#log.tail(uid)?.version ?? row?.version ?? 0) + 1;
    this.#write(uid, version, body);
    return version;
  }

  /** Takes what changed, to be written by `flush`; there is a document. `whole` = the change sets all of it. */
  change(uid: string, expected: number, change: Uint8Array, whole = false): void {
    this.#expect(uid, expected);
    this.#log.append(uid, expected, change, whole);
  }

  /**
   * Writes the changes that were taken, with one sync. Throws what the disk says; where it is full, none of them was made, and it goes on.
   */
  flush(): void {
    try {
      this.#log.flush();
    } catch (error) {
      if (isFull(error)) this.#log.forgetPending();
      throw error;
    }
    this.#shrink();
  }

  /**
   * A document that should be committed whole next time, so that the log's oldest records can go; one at a time, spread over the time that
   * the log takes to fill.
   */
  due(): string | undefined {
    const half = this.#maxLogBytes / 2;
    return this.#log.bytes > half ? this.#log.due(half) : undefined;
  }

  /** On a full disk the log stays as it is: what was flushed is durable all the same. */
  #shrink(): void {
    const oldest = this.#log.bytes > this.#maxLogBytes ? this.#log.oldest() : undefined;
    const tail = oldest === undefined ? undefined : this.#log.tail(oldest);
    if (oldest === undefined || !tail) return;
    try {
      this.transaction(() => this.#rewrite(oldest, tail));
    } catch (error) {
      if (!isFull(error)) throw error;
    }
  }

  remove(uid: string, expected: number): void {
    if (!this.#version(uid)) return;
    this.#expect(uid, expected);
    this.#delete.run(uid);
    this.#known.delete(uid);
    this.#log.forget(uid);
  }

  list(): { uid: string; version: number }[] {
    const rows = this.#database.prepare("SELECT uid, version FROM documents ORDER BY uid").all();
    return rows.map((row) => {
      const uid = String(row["uid"]);
      return { uid, version: this.#log.tail(uid)?.version ?? Number(row["version"]) };
    });
  }

  close(): void {
    this.#log.close();
    this.#database.close();
  }

  /** Pages that contradict each other are found before one is written; what they hold is guarded by checksums. */
  #demandSoundness(): void {
    const row = this.#database.prepare("PRAGMA quick_check(1)").get();
    const answer = String(row?.["quick_check"]);
    if (answer !== "ok") throw new DamagedFile(answer);
  }

  #load(): void {
    this.#known.clear();
    this.#log.load(this.#snapshots());
  }

  #snapshots(): Snapshots {
    const rows = this.#database.prepare("SELECT uid, version, since FROM documents").all();
    const snapshots = rows.map(({ uid, version, since }) => {
      return [String(uid), { version: Number(version), since: Number(since) }] as const;
    });
    return new Map(snapshots);
  }

  /** Writes everything whole that a former version kept in a log of its own, and ends that log. */
  #takeOverFormerLog(): void {
    const records = formerLog(this.#database);
    if (!records) return;
    const snapshots = this.#snapshots();
    const tails = tailsOf(records, snapshots);
    this.#begin.run();
    for (const [uid, { version }] of snapshots) {
      this.#rewrite(uid, tails.get(uid) ?? { version, changes: [], broken: false });
    }
    dropFormerLog(this.#database);
    this.#commit.run();
  }

  #version(uid: string): number {
    const known = this.#known.get(uid);
    if (known === undefined) return this.read(uid)?.version ?? 0;
    return this.#log.tail(uid)?.version ?? known;
  }

  #expect(uid: string, expected: number): void {
    const version = this.#version(uid);
    if (version === expected) return;
    throw new ArgusError("Conflict", "The document was changed meanwhile: read it again.", {
      uid,
      version,
      expected,
    });
  }

  #write(uid: string, version: number, body: string): void {
    const row = { version, since: this.#log.lastSeq, body };
    this.#upsert.run(uid, version, row.since, checksum(uid, row), body);
    this.#known.set(uid, version);
    this.#log.forget(uid);
  }

  #rewrite(uid: string, tail: Pick<Tail, "version" | "changes" | "broken">): void {
    try {
      const { version, body } = this.#read(uid, tail) ?? { version: 0, body: "" };
      this.#write(uid, version, body);
    } catch (error) {
      if (!(error instanceof UnreadableDocument)) throw error;
      this.#putAside(uid, tail);
    }
  }

  /** A document that cannot be read keeps what there is of it, under a checksum that never fits; the log need not wait for it. */
  #putAside(uid: string, { changes }: Pick<Tail, "changes">): void {
    const { version = 0, body = "" } = (this.#select.get(uid) ?? {}) as Partial<Row>;
    const text = [body, ...changes.map(textOf)].join("\n");
    this.#upsert.run(uid, version, this.#log.lastSeq, "damaged", text);
    this.#known.delete(uid);
    this.#log.forget(uid);
  }
}

const textOf = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();

function replay(
  uid: string,
  row: Row,
  { broken, changes }: Pick<Tail, "broken" | "changes">,
): string {
  if (broken) throw unreadable(uid);
  try {
    let document: unknown = JSON.parse(row.body);
    for (const change of changes) {
      document = applied(document, JSON.parse(textOf(change)) as Change);
    }
    return JSON.stringify(document);
  } catch (error) {
    throw unreadable(uid, errorMessage(error));
  }
}

/** 0 = written before there was a log. */
function checksum(uid: string, { version, since, body }: Omit<Row, "checksum">): string {
  const head = since > 0 ? `${uid}\n${version}\n${since}\n` : `${uid}\n${version}\n`;
  return createHash("sha256").update(head).update(body).digest("base64");
}

function unreadable(uid: string, problem?: string): UnreadableDocument {
  return new UnreadableDocument(
    "ChecksumMismatch",
    "The document fails its checksum and is left as it is: restore the state folder from a backup.",
    { uid, ...(problem === undefined ? {} : { problem }) },
  );
}
