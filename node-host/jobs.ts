import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { writeDurably } from "#lib/durable-file.ts";
import type { ProcessExited } from "#protocol/node.ts";
import { DEFAULT_YIELD_MS, type SystemRun } from "#protocol/node-commands.ts";
import { Job } from "./job.ts";
import { JobMeta, readRecord } from "./job-files.ts";
import { JOB_FILES } from "./job-folder.ts";
import { NodeError } from "./node-error.ts";
import { textTail } from "./text-tail.ts";

/** Jobs that run at once. Each has a supervisor of some 40 MiB beside it. */
export const MAX_RUNNING_JOBS = 32;
/** Ended jobs that are kept with their output. */
export const MAX_ENDED_JOBS = 200;
/** Of one output of one job, on the disk. */
export const MAX_OUTPUT_BYTES = 8 * 1024 ** 3;
/** Ends that the gateway has not acknowledged; the oldest is given up. */
export const MAX_UNTOLD = 200;
const TAIL_BYTES = 4000;

export interface JobsOptions {
  folder: string;
  nodeId: string;
  /** Command line of the supervisor; the job's folder is added. */
  supervisor: string[];
  /** What every program gets. */
  env: Record<string, string>;
  marks?: Record<string, string>;
  defaultCwd: string;
  maxOutputBytes?: number;
}

/** A job that is not over for the gateway. */
export interface OpenJob {
  jobId: string;
  /** Undefined: it has ended, or it is just being started. */
  supervisor: number | undefined;
}

export interface Caller {
  callId: string;
  sessionId: string | null;
  by: "person" | "agent";
}

/** All jobs of this device: the folder is the truth, so a successor of this process finds them. */
export class Jobs {
  readonly #options: JobsOptions;
  readonly #signal: AbortSignal;
  readonly #onEnded: (job: Job) => void;
  readonly #jobs = new Map<string, Job>();

  constructor(options: JobsOptions, signal: AbortSignal, onEnded: (job: Job) => void) {
    this.#options = options;
    this.#signal = signal;
    this.#onEnded = onEnded;
  }

  /** Takes up what an earlier node-host left: still running = adopted; lost = killed as a tree and reported. */
  async adopt(): Promise<void> {
    await mkdir(this.#options.folder, { recursive: true, mode: 0o700 });
    const names = await readdir(this.#options.folder);
    await Promise.all(names.map((name) => this.#adoptOne(join(this.#options.folder, name))));
    await this.#prune();
  }

  async #adoptOne(folder: string): Promise<void> {
    const meta = await readRecord(JobMeta, folder, JOB_FILES.meta);
    if (!meta) return rm(folder, { recursive: true, force: true });
    const job = new Job(folder, meta);
    this.#jobs.set(meta.jobId, job);
    if ((await job.adopt(this.#signal)) === "unborn") {
      // As if its call had never come: whoever still wants it asks again.
      this.#jobs.delete(meta.jobId);
      return rm(folder, { recursive: true, force: true });
    }
    // The call that waited for it was lost with the node-host before.
    if (!job.exit && !meta.backgrounded) await job.saveMeta({ backgrounded: true });
    void job.ended.then(() => this.#ended(job));
  }

  /** Starts a program, or finds the job that the same call has started already. */
  async start(params: SystemRun, caller: Caller): Promise<Job> {
    const known = this.byCall(caller.callId);
    if (known) return known;
    const running = [...this.#jobs.values()].filter(({ exit }) => !exit).length;
    if (running >= MAX_RUNNING_JOBS)
      throw new NodeError("BUSY", `${running} jobs run on this device already`);
    const meta = this.#newMeta(params, caller);
    const job = new Job(join(this.#options.folder, meta.jobId), meta);
    // Before anything is awaited: a repeat of the call must find it.
    this.#jobs.set(meta.jobId, job);
    await this.#launch(job, params);
    void job.ended.then(() => this.#ended(job));
    return job;
  }

  #newMeta(params: SystemRun, { callId, sessionId, by }: Caller): JobMeta {
    const notify = params.notifyOnExit;
    return {
      version: 1,
      jobId: randomUUID(),
      nodeId: this.#options.nodeId,
      callId,
      sessionId,
      terminalFor: params.pty ? by : null,
      argv: params.argv,
      cwd: params.cwd ?? this.#options.defaultCwd,
      stdinTextBytes: Buffer.byteLength(params.stdinText ?? ""),
      createdAtMs: Date.now(),
      timeoutMs: params.timeoutMs ?? null,
      yieldMs: params.yieldMs ?? DEFAULT_YIELD_MS,
      notifyOnExitMode: notify === true ? "always" : notify === false ? "never" : "auto",
      backgrounded: false,
      marksStart: true,
    };
  }

  async #launch(job: Job, params: SystemRun): Promise<void> {
    const { meta } = job;
    await job.saveMeta();
    const size = sizeOf(params);
    const isOpen = params.stdin === true || size !== undefined;
    const hasStdin = isOpen || typeof params.stdinText === "string";
    if (hasStdin) await writeFile(job.file("stdin"), params.stdinText ?? "", { mode: 0o600 });
    if (!isOpen) await writeFile(job.file("stdinClosed"), "");
    const order = {
      jobId: meta.jobId,
      argv: meta.argv,
      cwd: meta.cwd,
      timeoutMs: meta.timeoutMs,
      env: {
        ...this.#options.env,
        ...params.env,
      },
      stdin: hasStdin,
      maxOutputBytes: this.#options.maxOutputBytes ?? MAX_OUTPUT_BYTES,
      ...(size ? { size } : {}),
    };
    const { supervisor, marks = {} } = this.#options;
    await job.launch(order, { command: supervisor, marks }, this.#signal);
  }

  /** The job that a call has started. */
  byCall(callId: string): Job | undefined {
    return [...this.#jobs.values()].find(({ meta }) => meta.callId === callId);
  }

  isUntold(job: Job): boolean {
    return job.exit !== undefined && wantsNotice(job) && !existsSync(job.file("told"));
  }

  /** A job of this session; another session's does not exist for it. */
  get(jobId: string, sessionId: string | null): Job {
    const job = this.#jobs.get(jobId);
    if (!job || job.meta.sessionId !== sessionId)
      throw new NodeError("NOT_FOUND", `no job ${jobId}`);
    return job;
  }

  /** Running first, newest first. */
  list(sessionId: string | null): Job[] {
    const own = [...this.#jobs.values()].filter(({ meta }) => meta.sessionId === sessionId);
    return own.sort(
      (a, b) =>
        Number(a.exit !== undefined) - Number(b.exit !== undefined) ||
        b.meta.createdAtMs - a.meta.createdAtMs,
    );
  }

  open(): OpenJob[] {
    return [...this.#jobs.values()]
      .filter((job) => !job.exit || this.isUntold(job))
      .map(({ meta, supervisor }) => ({ jobId: meta.jobId, supervisor }));
  }

  /** Ends that the gateway has not acknowledged, oldest first. */
  untold(): Job[] {
    return [...this.#jobs.values()]
      .filter((job) => this.isUntold(job))
      .sort((a, b) => (a.exit?.endedAtMs ?? 0) - (b.exit?.endedAtMs ?? 0))
      .slice(-MAX_UNTOLD);
  }

  async told(jobId: string): Promise<void> {
    const job = this.#jobs.get(jobId);
    if (job?.exit) await writeDurably(job.file("told"), "");
  }

  #ended(job: Job): void {
    this.#onEnded(job);
    void this.#prune();
  }

  /** Forgets the oldest ended jobs; one whose end must still be told stays longer. */
  async #prune(): Promise<void> {
    const untold = new Set(this.untold());
    const ended = [...this.#jobs.values()]
      .filter((job) => job.exit && !untold.has(job))
      .sort((a, b) => (b.exit?.endedAtMs ?? 0) - (a.exit?.endedAtMs ?? 0));
    for (const job of ended.slice(MAX_ENDED_JOBS)) {
      this.#jobs.delete(job.meta.jobId);
      await rm(job.folder, { recursive: true, force: true });
    }
  }
}

/** auto = only what went to the background. */
const wantsNotice = ({ meta }: Job) =>
  meta.notifyOnExitMode === "always" || (meta.notifyOnExitMode === "auto" && meta.backgrounded);

const sizeOf = ({ pty }: SystemRun) => (pty === true ? { cols: 80, rows: 24 } : pty || undefined);

const RUNNING = {
  orphaned: false,
  endedAtMs: null,
  exitCode: null,
  signal: null,
  timedOut: false,
  reason: null,
};

/** The seed's view of a job, for `process.list` and `process.get`. */
export function jobView({ meta, started, exit, stdinWritable }: Job) {
  const { orphaned, endedAtMs, exitCode, signal, timedOut, reason } = exit ?? RUNNING;
  const { jobId, argv, cwd, createdAtMs } = meta;
  return {
    jobId,
    running: !exit,
    orphaned,
    pid: started?.child.pid ?? null,
    argv,
    cwd,
    createdAtMs,
    startedAtMs: started?.startedAtMs ?? null,
    endedAtMs,
    exitCode,
    signal,
    timedOut,
    reason: reason ?? null,
    stdinWritable,
  };
}

/** Text and sizes of both outputs, at most `maxBytes` of each. */
export async function outputs(job: Job, maxBytes: number) {
  const [stdoutBytes, stderrBytes] = await Promise.all([job.size("stdout"), job.size("stderr")]);
  const [stdout, stderr] = await Promise.all([
    stdoutBytes > 0 && maxBytes > 0 ? textTail(job.file("stdout"), stdoutBytes, maxBytes) : "",
    stderrBytes > 0 && maxBytes > 0 ? textTail(job.file("stderr"), stderrBytes, maxBytes) : "",
  ]);
  return { stdout, stderr, stdoutBytes, stderrBytes };
}

export async function exitNotice(job: Job): Promise<ProcessExited> {
  const { stdout, stderr } = await outputs(job, TAIL_BYTES);
  const { meta } = job;
  const { jobId, argv, cwd, exitCode, signal, timedOut, orphaned, reason, startedAtMs, endedAtMs } =
    jobView(job);
  return {
    nodeId: meta.nodeId,
    sessionId: meta.sessionId,
    jobId,
    argv,
    cwd,
    exitCode,
    signal,
    timedOut,
    orphaned,
    reason,
    startedAtMs,
    endedAtMs,
    stdoutTail: stdout,
    stderrTail: stderr,
  };
}
