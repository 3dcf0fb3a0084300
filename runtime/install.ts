import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdir, open, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { errorMessage, isErrno } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { withNpmPrefix } from "./npm-prefix.ts";
import { OutputTail } from "./output-tail.ts";

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
/** What a left-over process may hold the output open for after the script's own end. */
const DRAIN_MS = 1000;

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
    await writeMarker(folder, marker);
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

/** Durable, so that after a power cut it is there only if what came before it is. */
async function writeMarker(folder: string, marker: string): Promise<void> {
  for (const [path, flags] of [
    [marker, "w"],
    [folder, "r"],
  ] as const) {
    const file = await open(path, flags);
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  }
}

/** Resolves to undefined, or to the tail that tells why it failed. */
async function runScript(options: InstallOptions): Promise<string | undefined> {
  const { script, home, workspace, env, signal } = options;
  const child = spawn("/bin/sh", ["-ec", script], {
    cwd: workspace,
    env: withNpmPrefix(env, home),
    stdio: ["ignore", "pipe", "pipe"],
    // Its own process group, so that all of it can be killed.
    detached: true,
  });
  const closed = new Promise<void>((resolve) => {
    child.once("close", () => resolve());
  });
  const tail = new OutputTail();
  child.stdout.on("data", (chunk: Buffer) => tail.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => tail.push(chunk));
  const deadline = AbortSignal.timeout(options.deadlineMs ?? DEADLINE_MS);
  const either = AbortSignal.any([signal, deadline]);
  const kill = () => killGroup(child);
  either.addEventListener("abort", kill, { once: true });
  if (either.aborted) kill();
  try {
    const [code, killedBy] = (await once(child, "exit")) as [number | null, string | null];
    kill();
    await drained(child, closed);
    if (code === 0) return undefined;
    return tail.text(
      endReason({ stopped: signal.aborted, late: deadline.aborted, code, killedBy }),
    );
  } finally {
    either.removeEventListener("abort", kill);
  }
}

interface End {
  stopped: boolean;
  late: boolean;
  code: number | null;
  killedBy: string | null;
}

function endReason({ stopped, late, code, killedBy }: End): string {
  if (stopped) return "the install was stopped before its end";
  if (late) return "the install did not end in time and was killed";
  return code === null ? `the install was ended by ${killedBy}` : `the install ended with ${code}`;
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    if (!isErrno(error, "ESRCH", "EPERM")) throw error;
  }
}

/** Waits for the rest of the output; a process that left the group may keep the pipe open, so not for long. */
async function drained(child: ChildProcess, closed: Promise<void>): Promise<void> {
  const enough = new AbortController();
  const patience = delay(DRAIN_MS, undefined, { signal: enough.signal }).catch(() => undefined);
  await Promise.race([closed, patience]);
  enough.abort();
  child.stdout?.destroy();
  child.stderr?.destroy();
}
