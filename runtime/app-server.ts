import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { ArgusError, errorMessage, isErrno } from "#lib/errors.ts";
import { LineSplitter, MAX_APP_SERVER_LINE_BYTES } from "#lib/lines.ts";
import type { Logger } from "#lib/logger.ts";
import { GatheredWrites } from "./gathered-writes.ts";
import { StderrLog } from "./stderr-log.ts";

/** Between closed stdin, SIGTERM and SIGKILL. Codex needs 40 ms after the first. */
export const STOP_STEP_MS = 3000;
/** For the output of a process that has ended. */
const DRAIN_MS = 1000;
/** Unwritten bytes from which on peers are not read until the app-server has caught up. */
export const MAX_UNWRITTEN_BYTES = 8 * 1024 * 1024;

export interface AppServerOptions {
  command: string[];
  env: Record<string, string>;
  cwd: string;
  logger: Logger;
  /** Whole lines in order; the array is the receiver's. */
  onLines: (lines: Buffer[]) => void;
  /** Lines over the limit that were skipped. */
  onOverflow: (count: number) => void;
}

export interface AppServerEnd {
  code: number | null;
  signal: NodeJS.Signals | null;
}

/** One life of the app-server: a process group of its own, JSON lines on its pipes, stderr to the log. */
export class AppServer {
  readonly exited: Promise<AppServerEnd>;
  readonly pid: number;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #out: GatheredWrites;

  private constructor(child: ChildProcessWithoutNullStreams, pid: number) {
    this.#child = child;
    this.#out = new GatheredWrites(child.stdin);
    this.pid = pid;
    this.exited = endOf(child);
  }

  /** Throws Unavailable when the command cannot be started. */
  static async start(options: AppServerOptions): Promise<AppServer> {
    const [program = "", ...words] = options.command;
    const { env, cwd, logger, onLines, onOverflow } = options;
    const child = spawn(program, words, { env, cwd, stdio: "pipe", detached: true });
    try {
      await once(child, "spawn");
    } catch (error) {
      const message = `the app-server cannot be started: ${errorMessage(error)}`;
      throw new ArgusError("Unavailable", message, { program }, { cause: error });
    }
    const stdout = new LineSplitter({ maxBytes: MAX_APP_SERVER_LINE_BYTES, onOverflow: "skip" });
    child.stdout.on("data", (chunk: Buffer) => {
      const { lines, overflows } = stdout.push(chunk);
      if (overflows > 0) onOverflow(overflows);
      if (lines.length > 0) onLines(lines);
    });
    const stderr = new StderrLog(logger);
    child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
    child.on("error", (error) => logger.warn({ err: error }, "app-server process error"));
    // It ended while we wrote; its exit says the rest.
    child.stdin.on("error", () => undefined);
    return new AppServer(child, child.pid ?? 0);
  }

  /** Peers should wait for {@link drained}. */
  get full(): boolean {
    return this.#child.stdin.writableLength + this.#out.bytes > MAX_UNWRITTEN_BYTES;
  }

  /** Resolves when there is room again or nobody to write to. */
  async drained(): Promise<void> {
    this.#out.flush();
    if (!this.full) return;
    const stop = new AbortController();
    const { signal } = stop;
    const ends = [once(this.#child.stdin, "drain", { signal }), this.exited];
    await Promise.race(ends).finally(() => stop.abort());
  }

  /** A line, whole or in pieces. Those of one turn of the event loop leave in one write. */
  write(...pieces: Buffer[]): void {
    if (this.#out.bytes === 0) setImmediate(() => this.#out.flush());
    this.#out.add(pieces);
  }

  /** Closed stdin, SIGTERM, SIGKILL of its group, `STOP_STEP_MS` apart; resolves when it has ended. */
  async stop(): Promise<AppServerEnd> {
    this.#out.flush();
    this.#child.stdin.end();
    if (!(await this.#endsSoon())) this.kill("SIGTERM");
    if (!(await this.#endsSoon())) this.kill("SIGKILL");
    const end = await this.exited;
    // What it left in its group must not hold its files.
    this.kill("SIGKILL");
    return end;
  }

  kill(signal: NodeJS.Signals): void {
    try {
      process.kill(-this.pid, signal);
    } catch (error) {
      if (!isErrno(error, "ESRCH", "EPERM")) throw error;
    }
  }

  async #endsSoon(): Promise<boolean> {
    const stop = new AbortController();
    const step = delay(STOP_STEP_MS, false, { signal: stop.signal }).catch(() => false);
    const ended = this.exited.then(() => true);
    return Promise.race([ended, step]).finally(() => stop.abort());
  }
}

/** Its exit, and what was still in its pipes. A grandchild that left the group may hold them open, so not for long. */
async function endOf(child: ChildProcessWithoutNullStreams): Promise<AppServerEnd> {
  const closed = new Promise<void>((resolve) => {
    child.once("close", () => resolve());
  });
  const end = await new Promise<AppServerEnd>((resolve) => {
    child.once("exit", (code, signal) => resolve({ code, signal }));
  });
  const stop = new AbortController();
  const patience = delay(DRAIN_MS, undefined, { signal: stop.signal }).catch(() => undefined);
  await Promise.race([closed, patience]);
  stop.abort();
  child.stdout.destroy();
  child.stderr.destroy();
  child.stdin.destroy();
  return end;
}
