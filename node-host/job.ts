import { spawn } from "node:child_process";
import { existsSync, watch } from "node:fs";
import { appendFile, open, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { writeDurably } from "#lib/durable-file.ts";
import { isErrno } from "#lib/errors.ts";
import { endProcessTree, sameProcess } from "#lib/process-record.ts";
import type { OutputName } from "#protocol/node.ts";
import { JobExit, type JobMeta, JobStarted, readRecord } from "./job-files.ts";
import { JOB_FILES, type SupervisorOrder, type TerminalSize } from "./job-folder.ts";
import { NodeError } from "./node-error.ts";
import { JOB_MARK, SUPERVISOR_MARK } from "./supervisor.ts";

/** Between SIGTERM and SIGKILL. */
export const KILL_GRACE_MS = 1500;
const POLL_MS = 500;
/** A start that was interrupted has this long to write who it is. */
const START_GRACE_MS = 2000;

export interface StdinOptions {
  /** Bytes written before this call; absent = whatever is there. */
  offset?: number | undefined;
  close: boolean;
  maxBytes: number;
}

/** One job on the disk, with or without a process. `ended` resolves once its end is written; it never rejects. */
export class Job {
  readonly folder: string;
  meta: JobMeta;
  started: JobStarted | undefined;
  exit: JobExit | undefined;
  readonly ended: Promise<JobExit>;
  #launched: number | undefined;
  #writes: Promise<unknown> = Promise.resolve();
  #settle: (exit: JobExit) => void = () => undefined;

  constructor(folder: string, meta: JobMeta) {
    this.folder = folder;
    this.meta = meta;
    this.ended = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  file(name: keyof typeof JOB_FILES): string {
    return join(this.folder, JOB_FILES[name]);
  }

  async saveMeta(change: Partial<JobMeta> = {}): Promise<void> {
    this.meta = { ...this.meta, ...change };
    await writeDurably(this.file("meta"), JSON.stringify(this.meta));
  }

  /** Starts the supervisor; resolves when the program runs or has ended (perhaps because it could not be started). */
  async launch(
    order: SupervisorOrder,
    { command, marks }: { command: string[]; marks: Record<string, string> },
    signal: AbortSignal,
  ): Promise<void> {
    const [program = "", ...args] = command;
    const log = await open(join(this.folder, "supervisor.log"), "a", 0o600);
    const supervisor = spawn(program, [...args, this.folder], {
      env: { PATH: "/usr/bin:/bin", ...marks, [SUPERVISOR_MARK]: order.jobId },
      stdio: ["pipe", "ignore", log.fd],
      detached: true,
      windowsHide: true,
    });
    this.#launched = supervisor.pid;
    await log.close();
    const gone = new Promise<void>((resolve) => {
      supervisor.on("exit", () => resolve());
      supervisor.on("error", () => resolve());
    });
    supervisor.stdin?.on("error", () => undefined);
    supervisor.stdin?.end(JSON.stringify(order));
    supervisor.unref();
    void this.#watch(signal, gone);
    await this.#until(() => this.started !== undefined || this.exit !== undefined, signal);
  }

  /** Takes up a job of an earlier node-host. `unborn`: its start was cut off before the program, so nothing ran. */
  async adopt(signal: AbortSignal): Promise<"known" | "lost" | "unborn"> {
    await this.refresh();
    const deadline = Date.now() + START_GRACE_MS;
    while (!this.exit && !this.started && Date.now() < deadline) {
      await this.#change(signal, 50);
      await this.refresh();
    }
    if (!this.exit && !(await this.#supervised())) {
      if (await this.#isUnborn()) return "unborn";
      await this.#abandon("the job's supervisor was lost, so nobody knows how it ended");
      return "lost";
    }
    if (!this.exit) void this.#watch(signal);
    return "known";
  }

  /** Ends the whole tree; the supervisor then writes how the program ended. */
  async kill(graceMs: number): Promise<void> {
    await endProcessTree({
      roots: this.started ? [this.started.child] : [],
      mark: { name: JOB_MARK, value: this.meta.jobId },
      graceMs,
    });
  }

  /** Where the output ends; only its end tells. */
  outputBytes(output: OutputName): number {
    if (!this.exit) return Number.POSITIVE_INFINITY;
    return this.exit[output === "stdout" ? "stdoutBytes" : "stderrBytes"];
  }

  /** Bytes written so far; after the end the size that the end was written with, whatever a left-over child still writes. */
  async size(output: OutputName): Promise<number> {
    return this.exit ? this.outputBytes(output) : sizeOf(this.file(output));
  }

  /** Appends to stdin at `offset` (default: the end), of which a repeat adds nothing twice. Resolves to the new size. */
  write(bytes: Buffer, options: StdinOptions): Promise<number> {
    const next = this.#writes.then(() => this.#write(bytes, options));
    this.#writes = next.catch(() => undefined);
    return next;
  }

  async #write(bytes: Buffer, { offset, close, maxBytes }: StdinOptions): Promise<number> {
    const size = await sizeOf(this.file("stdin"));
    const at = offset ?? size;
    if (at > size) throw new NodeError("BAD_INPUT", `offset: only ${size} bytes were written`);
    const fresh = bytes.subarray(size - at);
    if (fresh.length > 0) this.#checkWritable(size + fresh.length, maxBytes);
    if (fresh.length > 0) await appendFile(this.file("stdin"), fresh);
    if (close) await writeFile(this.file("stdinClosed"), "");
    return size + fresh.length;
  }

  #checkWritable(size: number, maxBytes: number): void {
    if (!this.stdinWritable)
      throw new NodeError("NOT_RUNNING", "its stdin is closed; start it with stdin: true to write");
    if (size > maxBytes) throw new NodeError("TOO_LARGE", `stdin takes ${maxBytes} bytes in all`);
  }

  /** Of its terminal; the supervisor follows it. */
  async resize({ cols, rows }: TerminalSize): Promise<void> {
    if (this.exit || this.meta.terminalFor === null)
      throw new NodeError("NOT_RUNNING", "it has ended, or it has no terminal");
    await writeFile(this.file("size"), `${cols} ${rows}\n`, { mode: 0o600 });
  }

  /** Its process id; undefined when the job has ended. */
  get supervisor(): number | undefined {
    return this.exit ? undefined : (this.started?.supervisor.pid ?? this.#launched);
  }

  get stdinWritable(): boolean {
    return !this.exit && existsSync(this.file("stdin")) && !existsSync(this.file("stdinClosed"));
  }

  async refresh(): Promise<void> {
    this.started ??= await readRecord(JobStarted, this.folder, JOB_FILES.started);
    this.exit ??= await readRecord(JobExit, this.folder, JOB_FILES.exit);
    if (this.exit) this.#settle(this.exit);
  }

  /** Follows the job until its end is on the disk, or its supervisor is gone without having written one. */
  async #watch(signal: AbortSignal, gone?: Promise<void>): Promise<void> {
    let lost = false;
    void gone?.then(() => {
      lost = true;
    });
    while (!signal.aborted) {
      await this.refresh();
      if (this.exit) return;
      if (lost || (!gone && !(await this.#supervised()))) {
        await this.refresh();
        if (this.exit) return;
        return this.#abandon("the job's supervisor was killed, so nobody knows how it ended");
      }
      await this.#change(signal, POLL_MS, gone);
    }
  }

  async #supervised(): Promise<boolean> {
    const supervisor = this.started?.supervisor;
    return supervisor !== undefined && sameProcess(supervisor.pid, supervisor.startTime);
  }

  /** Whether no program was started, and none will be. */
  async #isUnborn(): Promise<boolean> {
    if (!this.meta.marksStart) return false;
    await this.#endSupervisor();
    await this.refresh();
    return !this.started && !this.exit && !existsSync(this.file("starting"));
  }

  async #endSupervisor(): Promise<void> {
    const mark = { name: SUPERVISOR_MARK, value: this.meta.jobId };
    await endProcessTree({ roots: [], mark, graceMs: 0 });
  }

  /** Nobody watches it any more: it is ended as a tree, and that is written down. */
  async #abandon(reason: string): Promise<void> {
    await this.#endSupervisor();
    await this.kill(0);
    const exit: JobExit = {
      exitCode: null,
      signal: null,
      timedOut: false,
      orphaned: true,
      reason,
      endedAtMs: Date.now(),
      stdoutBytes: await sizeOf(this.file("stdout")),
      stderrBytes: await sizeOf(this.file("stderr")),
    };
    await writeDurably(this.file("exit"), JSON.stringify(exit));
    await this.refresh();
  }

  async #until(holds: () => boolean, signal: AbortSignal): Promise<void> {
    for (;;) {
      await this.refresh();
      if (holds() || signal.aborted) return;
      await this.#change(signal, 50);
    }
  }

  /** Resolves at the next change in the folder, after `atMostMs`, when `also` does, or when aborted. */
  #change(signal: AbortSignal, atMostMs: number, also?: Promise<void>): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        watcher?.close();
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, atMostMs);
      const watcher = watching(this.folder, done);
      signal.addEventListener("abort", done, { once: true });
      void also?.then(done);
    });
  }
}

/** Without a watch (no descriptors left) the timer alone is slower, not wrong. */
function watching(folder: string, done: () => void) {
  try {
    return watch(folder, (_, name) => {
      if (name === JOB_FILES.exit || name === JOB_FILES.started) done();
    }).on("error", done);
  } catch {
    return undefined;
  }
}

export async function sizeOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return 0;
    throw error;
  }
}

export const jobFolders = (folder: string): Promise<string[]> =>
  readdir(folder).catch(() => [] as string[]);
