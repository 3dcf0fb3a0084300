import { errorMessage, isErrno } from "#lib/errors.ts";

/** Primary result codes of SQLite. */
export const SQLITE = {
  busy: 5,
  locked: 6,
  readOnly: 8,
  input: 10,
  corrupt: 11,
  full: 13,
  cannotOpen: 14,
  noDatabase: 26,
} as const;

/** The primary code of an SQLite error; undefined for any other. */
export function sqliteCode(error: unknown): number | undefined {
  const code = error instanceof Error && "errcode" in error ? Number(error.errcode) : undefined;
  return code === undefined ? undefined : code & 255;
}

/**
 * A sync that failed, whatever the disk said: what was written may or may not be there, and no later sync tells. So nothing goes on
 * after it; a full disk neither.
 */
export class FailedSync extends Error {
  constructor(cause: unknown) {
    super(errorMessage(cause), { cause });
  }
}

/** Nothing fits on the disk any more: the one failure that ends when somebody frees some space. */
export function isFull(error: unknown): boolean {
  return sqliteCode(error) === SQLITE.full || isErrno(error, "ENOSPC", "EDQUOT");
}

/** The file as a whole is not what was written. */
export class DamagedFile extends Error {}

/** What ended the store, and what a person can do about it. */
export function failureWords(error: unknown, folder: string): string {
  const cause = error instanceof FailedSync ? error.cause : error;
  const words = `${wordsOf(cause, folder)} (${errorMessage(error)})`;
  return `The state store failed: ${words}`;
}

function wordsOf(error: unknown, folder: string): string {
  const code = sqliteCode(error);
  if (error instanceof DamagedFile || code === SQLITE.corrupt || code === SQLITE.noDatabase) {
    return `${folder}/state.db is damaged and was left as it is. Stop the gateway, move the folder away, start it again, and read a backup back with \`argus state import\`.`;
  }
  if (isFull(error)) return `the disk of ${folder} is full: free some space.`;
  if (code === SQLITE.readOnly || isErrno(error, "EROFS")) {
    return `${folder} cannot be written: is its disk mounted read-only?`;
  }
  if (code === SQLITE.cannotOpen || isErrno(error, "EACCES", "EPERM")) {
    return `${folder} cannot be used: does it belong to the gateway's user, and is its disk writable?`;
  }
  if (code === SQLITE.input || isErrno(error, "EIO")) {
    return `the disk of ${folder} fails. What was acknowledged before is on it; look at the machine's log.`;
  }
  return "it does not go on.";
}
