import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { backoffMs, type Clock } from "#lib/clock.ts";
import { ArgusError } from "#lib/errors.ts";
import type { Running } from "#lib/running.ts";
import type { StartedProcesses } from "./leftovers.ts";
import type { LogFile } from "./log-file.ts";

export interface ChildOptions {
  /** Shown to the person and the sub-command that runs. */
  name: string;
  command: string;
  args: string[];
  environment: Record<string, string>;
  log: LogFile;
  started: StartedProcesses;
  clock: Clock;
  /** Told about each end and start that nobody asked for. */
  say: (line: string) => void;
}

export interface Child extends Running {
  /** How often it died by itself. */
  deaths: () => number;
}

/** SIGTERM, then this long, then SIGKILL. */
const STOP_GRACE_MS = 15_000;
/** A child that lived this long starts its back-off anew. */
const STEADY_MS = 60_000;

/** Keeps one process of ours running until the signal; restarts it with back-off when it dies. */
export function superviseChild(options: ChildOptions, signal: AbortSignal): Child {
  const state = { deaths: 0 };
  return { deaths: () => state.deaths, closed: keepRunning(options, state, signal) };
}

async function keepRunning(
  options: ChildOptions,
  state: { deaths: number },
  signal: AbortSignal,
): Promise<void> {
  const { name, clock, say, log } = options;
  for (let attempt = 0; !signal.aborted; ) {
    const startedAt = clock.now();
    const end = await runOnce(options, signal);
    if (signal.aborted) return;
    state.deaths++;
    if (clock.now() - startedAt > STEADY_MS) attempt = 0;
    const pauseMs = backoffMs(attempt++, { baseMs: 300, maxMs: 30_000 });
    say(
      `${name} ended (${end}); starting it again in ${(pauseMs / 1000).toFixed(1)} s. See ${log.path}`,
    );
    await clock.sleep(pauseMs, signal).catch(() => undefined);
  }
}

/** Resolves to how it ended, in words. */
async function runOnce(options: ChildOptions, signal: AbortSignal): Promise<string> {
  const child = spawn(options.command, options.args, {
    env: options.environment,
    // A group of its own: Ctrl-C reaches us alone, and we stop in order.
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  const ended = endOf(child);
  child.stdout?.on("data", (chunk: Buffer) => options.log.write(chunk));
  child.stderr?.on("data", (chunk: Buffer) => options.log.write(chunk));
  if (child.pid === undefined) return ended;
  const { pid } = child;
  const stop = stopper(child);
  signal.addEventListener("abort", stop.now, { once: true });
  await options.started.add(pid);
  if (signal.aborted) stop.now();
  const end = await ended;
  signal.removeEventListener("abort", stop.now);
  stop.done();
  await options.started.remove(pid);
  return end;
}

function stopper(child: ChildProcess): { now: () => void; done: () => void } {
  let timer: NodeJS.Timeout | undefined;
  return {
    now: () => {
      child.kill("SIGTERM");
      timer ??= setTimeout(() => child.kill("SIGKILL"), STOP_GRACE_MS);
    },
    done: () => clearTimeout(timer),
  };
}

async function endOf(child: ChildProcess): Promise<string> {
  const failed = new Promise<string>((resolve) => {
    child.on("error", (error) => resolve(error.message));
  });
  const closed = once(child, "close").then(([code, name]) =>
    name ? `signal ${name}` : `exit ${code}`,
  );
  return Promise.race([closed, failed]);
}

const DEATHS_BEFORE_READY = 3;
const POLL_MS = 100;

/**
 * Resolves when `url` answers 200. Throws Unavailable with the child's last words when it dies again and again, or
 * when it is not ready within `timeoutMs`.
 */
export async function waitUntilReady(
  { name, log, clock }: ChildOptions,
  child: Child,
  { url, timeoutMs, signal }: { url: string; timeoutMs: number; signal: AbortSignal },
): Promise<void> {
  const deadline = clock.now() + timeoutMs;
  for (;;) {
    signal.throwIfAborted();
    const state = await readiness(url, signal);
    if (state === "ready") return;
    if (child.deaths() >= DEATHS_BEFORE_READY || clock.now() > deadline) {
      const why = child.deaths() > 0 ? "does not stay alive" : `is not ready: ${state}`;
      const last = log.lastLines(5).join("\n  ");
      throw new ArgusError(
        "Unavailable",
        `${name} ${why}. Its last words (${log.path}):\n  ${last}`,
      );
    }
    await clock.sleep(POLL_MS, signal);
  }
}

/** `ready`, or why not. */
async function readiness(url: string, signal: AbortSignal): Promise<string> {
  try {
    const answer = await fetch(url, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(2_000)]),
    });
    const text = await answer.text();
    return answer.ok ? "ready" : text.slice(0, 300);
  } catch (error) {
    signal.throwIfAborted();
    return error instanceof Error ? error.message : String(error);
  }
}
