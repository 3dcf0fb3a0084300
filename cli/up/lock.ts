import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { z } from "zod";
import { ArgusError } from "#lib/errors.ts";
import type { DataFolder } from "../data-folder.ts";

/** Who holds the data folder, for the words of a refusal. */
const Holder = z.object({ pid: z.number(), since: z.string(), url: z.string().optional() });
type Holder = z.infer<typeof Holder>;

export interface UpLock {
  /** Tells a later `up` where this one listens. */
  announce(url: string): Promise<void>;
  release(): void;
}

/**
 * The data folder is used by one `argus up` at a time. The lock is the operating system's (through SQLite), so it
 * goes with its process, also after kill -9: there is no stale lock. Throws Conflict with the holder when it is taken.
 */
export async function lockDataFolder(folder: DataFolder, now: Date): Promise<UpLock> {
  const database = new DatabaseSync(folder.lock);
  try {
    database.exec("PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE");
  } catch {
    database.close();
    throw new ArgusError("Conflict", refusal(folder));
  }
  const holder: Holder = { pid: process.pid, since: now.toISOString() };
  const write = (next: Holder) => writeFile(folder.lockHolder, JSON.stringify(next));
  await write(holder);
  return {
    announce: (url) => write({ ...holder, url }),
    release: () => database.close(),
  };
}

function refusal(folder: DataFolder): string {
  const holder = readHolder(folder.lockHolder);
  const who = holder ? `process ${holder.pid} since ${holder.since}` : "another process";
  const where = holder?.url ? ` at ${holder.url}` : "";
  return `argus up already runs here${where} (${who}, data in ${folder.root}). Talk to it with \`./argus chat\`, stop it with Ctrl-C, or give another --data`;
}

function readHolder(path: string): Holder | undefined {
  try {
    return Holder.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch {
    return undefined;
  }
}
