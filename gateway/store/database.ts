import { createHash } from "node:crypto";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { ArgusError } from "#lib/errors.ts";
import { UnreadableDocument } from "./unreadable.ts";

const SCHEMA_VERSION = 1;

interface Row {
  version: number;
  checksum: string;
  body: string;
}

/** The documents in one SQLite file, which this connection holds exclusively. All calls block: it belongs into a worker. */
export class DocumentTable {
  readonly #database: DatabaseSync;
  readonly #select: StatementSync;
  readonly #upsert: StatementSync;
  readonly #delete: StatementSync;
  /** Versions that this process wrote or checked: no second checksum before a commit. */
  readonly #known = new Map<string, number>();

  /** Throws an SQLite error, `SQLITE_BUSY` (5) while another process holds the file. */
  constructor(path: string) {
    const database = new DatabaseSync(path, { timeout: 0 });
    try {
      prepareDatabase(database);
      this.#select = database.prepare(
        "SELECT version, checksum, body FROM documents WHERE uid = ?",
      );
      this.#upsert = database.prepare(
        "INSERT INTO documents (uid, version, checksum, body) VALUES (?, ?, ?, ?) ON CONFLICT (uid) DO UPDATE SET version = excluded.version, checksum = excluded.checksum, body = excluded.body",
      );
      this.#delete = database.prepare("DELETE FROM documents WHERE uid = ?");
    } catch (error) {
      database.close();
      throw error;
    }
    this.#database = database;
  }

  /** Runs `work` in one transaction with one sync at its end; rolled back when it throws. */
  transaction(work: () => void): void {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      work();
      this.#database.exec("COMMIT");
    } catch (error) {
      this.#known.clear();
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      throw error;
    }
  }

  read(uid: string): { version: number; body: string } | undefined {
    const row = this.#select.get(uid) as Row | undefined;
    if (!row) return undefined;
    if (row.checksum !== checksum(uid, row)) throw unreadable(uid);
    this.#known.set(uid, row.version);
    return { version: row.version, body: row.body };
  }

  commit(uid: string, expected: number, body: string): number {
    this.#expect(uid, expected);
    const next = { version: expected + 1, body };
    this.#upsert.run(uid, next.version, checksum(uid, next), body);
    this.#known.set(uid, next.version);
    return next.version;
  }

  remove(uid: string, expected: number): void {
    if (!this.#version(uid)) return;
    this.#expect(uid, expected);
    this.#delete.run(uid);
    this.#known.delete(uid);
  }

  list(): { uid: string; version: number }[] {
    const rows = this.#database.prepare("SELECT uid, version FROM documents ORDER BY uid").all();
    return rows.map((row) => ({ uid: String(row["uid"]), version: Number(row["version"]) }));
  }

  close(): void {
    this.#database.close();
  }

  #version(uid: string): number {
    return this.#known.get(uid) ?? this.read(uid)?.version ?? 0;
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
}

function prepareDatabase(database: DatabaseSync): void {
  // Exclusive before the first access: no shared-memory file, and the lock is held until the end.
  database.exec("PRAGMA locking_mode = EXCLUSIVE");
  database.exec("PRAGMA journal_mode = WAL");
  database.exec("PRAGMA synchronous = FULL");
  const { user_version: found } = database.prepare("PRAGMA user_version").get() as {
    user_version: number;
  };
  if (found > SCHEMA_VERSION) {
    throw new ArgusError(
      "InvalidInput",
      "The state store was written by a newer Argus: start that version, or give this one another state folder.",
      { found, supported: SCHEMA_VERSION },
    );
  }
  // A write transaction takes the exclusive lock now, not at the first commit.
  database.exec(
    `BEGIN IMMEDIATE;
     CREATE TABLE IF NOT EXISTS documents (
       uid TEXT PRIMARY KEY, version INTEGER NOT NULL, checksum TEXT NOT NULL, body TEXT NOT NULL
     ) STRICT;
     PRAGMA user_version = ${SCHEMA_VERSION};
     COMMIT`,
  );
}

function checksum(uid: string, { version, body }: { version: number; body: string }): string {
  return createHash("sha256").update(`${uid}\n${version}\n`).update(body).digest("base64");
}

function unreadable(uid: string): UnreadableDocument {
  return new UnreadableDocument(
    "ChecksumMismatch",
    "The document fails its checksum and is left as it is: restore the state folder from a backup.",
    { uid },
  );
}
