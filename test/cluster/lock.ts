import { DatabaseSync } from "node:sqlite";
import { eventually } from "#test/support/eventually.ts";

/** Longer than any holder needs: a start takes half a minute. */
const WAIT_MS = 300_000;

/** Runs `work` while no other process holds the lock. It is the operating system's: a dead holder's is gone. */
export async function withLock<T>(path: string, work: () => Promise<T>): Promise<T> {
  const database = new DatabaseSync(path);
  try {
    await eventually(
      `the lock ${path}`,
      () => {
        database.exec("PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE");
        return true;
      },
      WAIT_MS,
    );
    return await work();
  } finally {
    database.close();
  }
}
