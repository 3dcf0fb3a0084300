import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import type { Logger } from "#lib/logger.ts";
import { endProcessTree, recordProcess } from "#lib/process-record.ts";

const GRACE_MS = 3000;
const Recorded = z.object({ pid: z.int().positive(), startTime: z.string().min(1) });

const pathIn = (home: string) => join(home, ".argus", "app-server.json");

/** Writes down which process is the app-server, so that a next bridge can end it. */
export async function rememberAppServer(home: string, pid: number): Promise<void> {
  const path = pathIn(home);
  await mkdir(dirname(path), { recursive: true });
  // Gone already: then there is nothing to end either.
  const record = await recordProcess(pid).catch(() => undefined);
  if (!record) return;
  await writeFile(`${path}.new`, JSON.stringify(record), { mode: 0o600 });
  await rename(`${path}.new`, path);
}

export async function forgetAppServer(home: string): Promise<void> {
  await rm(pathIn(home), { force: true });
}

/**
 * Ends the app-server that a killed bridge left, if the recorded process is still that one: a thread has one writer, so
 * the next app-server could not open it.
 */
export async function endLeftover(home: string, logger: Logger): Promise<void> {
  const text = await readFile(pathIn(home), "utf8").catch(() => "");
  if (text === "") return;
  const record = Recorded.safeParse(parse(text));
  if (record.success) {
    const ended = await endProcessTree({ roots: [record.data], graceMs: GRACE_MS });
    if (ended > 0) logger.warn({ pid: record.data.pid, ended }, "ended a left-over app-server");
  }
  await forgetAppServer(home);
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
