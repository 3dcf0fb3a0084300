import { createHash } from "node:crypto";
import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { writeDurably } from "#lib/durable-file.ts";
import { errorMessage, isErrno } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { withNpmPrefix } from "./npm-prefix.ts";
import { OutputTail } from "./output-tail.ts";
import { failureWords, runShell } from "./shell.ts";

export interface InstallOptions {
  /** Shell text, run by `sh -e`. */
  script: string;
  /** {@link installVersion} of it. */
  version: string;
  home: string;
  workspace: string;
  env: Record<string, string>;
  signal: AbortSignal;
  logger: Logger;
  /** Default 30 minutes. */
  deadlineMs?: number;
}

/** `ran` = false: this version was installed before. `tail`: the last 20 lines of output and why it failed, ≤ 4096 characters. */
export type InstallResult = { ok: true; ran: boolean } | { ok: false; tail: string };

const DEADLINE_MS = 30 * 60_000;

/** Name of what `script` makes on `image`: 16 hex digits; either changed = another version. */
export function installVersion(script: string, image: string): string {
  const hash = createHash("sha256").update(script).update("\0").update(image);
  return hash.digest("hex").slice(0, 16);
}

/**
 * Runs the script unless this version once ran to its end on this volume. It runs as the agent's user in the workspace,
 * with HOME and npm's prefix on the volume. Everything it started is killed at its end, at the deadline and on abort.
 * Never throws.
 */
export async function runInstall(options: InstallOptions): Promise<InstallResult> {
  const { home, version, logger } = options;
  try {
    const folder = join(home, ".argus", "install");
    await mkdir(folder, { recursive: true });
    const marker = join(folder, version);
    if (await exists(marker)) return { ok: true, ran: false };
    logger.info({ version }, "install started");
    const failure = await runScript(options);
    if (failure !== undefined) return { ok: false, tail: failure };
    await writeDurably(marker, "");
    logger.info({ version }, "install done");
    return { ok: true, ran: true };
  } catch (error) {
    return { ok: false, tail: `the install could not be run: ${errorMessage(error)}` };
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  }
}

/** Resolves to undefined, or to the tail that tells why it failed. */
async function runScript(options: InstallOptions): Promise<string | undefined> {
  const { script, home, workspace, env, signal, deadlineMs = DEADLINE_MS } = options;
  const tail = new OutputTail();
  const hear = (chunk: Buffer) => tail.push(chunk);
  const end = await runShell({
    command: ["/bin/sh", "-ec", script],
    cwd: workspace,
    env: withNpmPrefix(env, home),
    signal,
    deadlineMs,
    onOutput: hear,
    onError: hear,
  });
  const failure = failureWords("the install", end);
  return failure === undefined ? undefined : tail.text(failure);
}
