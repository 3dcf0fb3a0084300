import type { DatabaseSync } from "node:sqlite";
import { ArgusError } from "#lib/errors.ts";

/** 1: documents; 2: the log of changes beside them. */
const SCHEMA_VERSION = 2;
/** A transaction of many changes is one long row: the fewer pages, the fewer writes. */
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
  const { user_version: found } = database.prepare("PRAGMA user_version").get() as {
    user_version: number;
  };
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
    database.exec(`ALTER TABLE documents ADD COLUMN since INTEGER NOT NULL DEFAULT 0;
      CREATE TABLE log (
        seq INTEGER PRIMARY KEY, docs TEXT NOT NULL, checksum INTEGER NOT NULL, changes BLOB NOT NULL
      ) STRICT`);
  }
  // Nothing is written when nothing changed: a full disk is no reason not to open.
  if (found < SCHEMA_VERSION) database.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
}
