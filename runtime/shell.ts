import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { isErrno } from "#lib/errors.ts";

/** What a left-over process may hold the output open for after the program's own end. */
const DRAIN_MS = 1000;

export interface ShellOptions {
  /** Program and arguments. */
  command: string[];
  cwd: string;
  env: Record<string, string>;
  /** Kills it before its end. */
  signal: AbortSignal;
  deadlineMs: number;
  onOutput: (chunk: Buffer) => void;
  onError: (chunk: Buffer) => void;
}

/** How it ended: by itself with `code`, or by a signal; `stopped` and `late` say that we sent it. */
export interface ShellEnd {
  stopped: boolean;
  late: boolean;
  code: number | null;
  killedBy: string | null;
}

/** Runs a program in a process group of its own; everything in it is killed at its end, at the deadline and on abort. */
export async function runShell(options: ShellOptions): Promise<ShellEnd> {
  const { command, cwd, env, signal } = options;
  const [program = "", ...words] = command;
  const child = spawn(program, words, {
    cwd,
    env,
    stdio: ["ignore", "pipe", "pipe"],
    // Its own process group, so that all of it can be killed.
    detached: true,
  });
  const closed = new Promise<void>((resolve) => {
    child.once("close", () => resolve());
  });
  child.stdout.on("data", options.onOutput);
  child.stderr.on("data", options.onError);
  const deadline = AbortSignal.timeout(options.deadlineMs);
  const either = AbortSignal.any([signal, deadline]);
  const kill = () => killGroup(child);
  either.addEventListener("abort", kill, { once: true });
  if (either.aborted) kill();
  try {
    const [code, killedBy] = (await once(child, "exit")) as [number | null, string | null];
    kill();
    await drained(child, closed);
    return { stopped: signal.aborted, late: deadline.aborted, code, killedBy };
  } finally {
    either.removeEventListener("abort", kill);
  }
}

/** Why it counts as failed, about `what`, such as "the install"; undefined = it ended well. */
export function failureWords(
  what: string,
  { stopped, late, code, killedBy }: ShellEnd,
): string | undefined {
  if (code === 0) return undefined;
  if (stopped) return `${what} was stopped before its end`;
  if (late) return `${what} did not end in time and was killed`;
  return code === null ? `${what} was ended by ${killedBy}` : `${what} ended with ${code}`;
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
