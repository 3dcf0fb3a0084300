import type { DatabaseSync } from "node:sqlite";
import { crc32 } from "node:zlib";
import { ArgusError } from "#lib/errors.ts";
import { DamagedFile } from "./failures.ts";

/** 1: documents; 2: a log of changes in a table; 3: the log in files of its own; 4: whole documents in it too. */
const SCHEMA_VERSION = 4;
/** Documents are long rows: the fewer pages, the fewer writes. */
const PAGE_BYTES = 8192;
/** The file of new pages is folded into the database when it holds so many (32 MiB): the pause for it comes seldom. */
const CHECKPOINT_PAGES = 4096;

/** Takes the exclusive lock and brings the tables to this version. */
export function prepareDatabase(database: DatabaseSync): void {
  database.exec(`PRAGMA page_size = ${PAGE_BYTES}`);
  // Exclusive before the first access: no shared-memory file, and the lock is held until the end.
  database.exec("PRAGMA locking_mode = EXCLUSIVE");
  database.exec("PRAGMA journal_mode = WAL");
  database.exec("PRAGMA synchronous = FULL");
  database.exec(`PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
  // A write transaction takes the exclusive lock now, not at the first commit.
  database.exec("BEGIN IMMEDIATE");
  migrate(database);
  database.exec("COMMIT");
}

function migrate(database: DatabaseSync): void {
  const found = versionOf(database);
  if (found > SCHEMA_VERSION) {
    throw new ArgusError(
      "InvalidInput",
      `The state store has version ${found}, and this Argus knows versions up to ${SCHEMA_VERSION}: start the newer one, or give this one another state folder.`,
      { found, supported: SCHEMA_VERSION },
    );
  }
  if (found < 1) {
    database.exec(`CREATE TABLE documents (
      uid TEXT PRIMARY KEY, version INTEGER NOT NULL, checksum TEXT NOT NULL, body TEXT NOT NULL
    ) STRICT`);
  }
  if (found < 2) {
    database.exec("ALTER TABLE documents ADD COLUMN since INTEGER NOT NULL DEFAULT 0");
  }
  // Nothing is written when nothing changed: a full disk is no reason not to open. The second version's log is taken over apart.
  if (found < 2 || found === 3) database.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
}

/** Records of the second version's log, oldest first; undefined = this file has none. */
export function formerLog(database: DatabaseSync): FormerRecord[] | undefined {
  if (versionOf(database) !== 2) return undefined;
  const rows = database.prepare("SELECT seq, docs, checksum, changes FROM log ORDER BY seq").all();
  return rows.map((row) => {
    const { seq, docs, checksum, changes } = row as unknown as FormerRecord & { checksum: number };
    if (crc32(`${seq}\n${docs}`) === checksum) return { seq, docs, changes };
    throw new DamagedFile(`record ${seq} of the log does not tell whose it is`);
  });
}

/** In the transaction that wrote all its documents whole. */
export function dropFormerLog(database: DatabaseSync): void {
  database.exec(`DROP TABLE log; PRAGMA user_version = ${SCHEMA_VERSION}`);
}

function versionOf(database: DatabaseSync): number {
  return Number(database.prepare("PRAGMA user_version").get()?.["user_version"]);
}

interface FormerRecord {
  seq: number;
  docs: string;
  changes: Uint8Array;
}
