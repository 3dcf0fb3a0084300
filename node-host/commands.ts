import { constants } from "node:fs";
import { access, stat } from "node:fs/promises";
import { delimiter, isAbsolute, join } from "node:path";
import { sleepOr } from "#lib/sleep-or.ts";
import {
  COMMAND_PARAMS,
  type CommandName,
  FOREGROUND_BYTES,
  type SystemRun,
} from "#protocol/node-commands.ts";
import type { Files } from "./files.ts";
import { type Job, KILL_GRACE_MS } from "./job.ts";
import { type Caller, type Jobs, jobView, outputs } from "./jobs.ts";
import { NodeError } from "./node-error.ts";
import { findPty } from "./terminal.ts";

const TAIL_BYTES = 4000;
/** All of stdin that a job gets. */
export const MAX_STDIN_BYTES = 256 * 1024 * 1024;
/** The same of one on a terminal; what its program does not read stays in its supervisor's memory. */
export const MAX_TYPED_BYTES = 16 * 1024 * 1024;

export interface Tools {
  jobs: Jobs;
  /** Made for each call: the owner may have changed the shared folders. */
  files: () => Promise<Files>;
  path: string;
}

export interface Call extends Caller {
  command: string;
  params: unknown;
  /** Aborted when the gateway cancels the call. */
  signal: AbortSignal;
}

export const isCommand = (name: string): name is CommandName => Object.hasOwn(COMMAND_PARAMS, name);

/** Parameters of a known command. Throws NodeError UNSUPPORTED or BAD_INPUT. */
export function parseParams(
  command: string,
  params: unknown,
): { name: CommandName; value: unknown } {
  if (!isCommand(command))
    throw new NodeError("UNSUPPORTED", `no command ${command} on this device`);
  const parsed = COMMAND_PARAMS[command].safeParse(params ?? {});
  if (parsed.success) return { name: command, value: parsed.data };
  const issue = parsed.error.issues[0];
  throw new NodeError("BAD_INPUT", `${issue?.path.join(".") || "params"}: ${issue?.message}`);
}

/** Runs one command that the policy allows. Throws NodeError. */
export async function runCommand(tools: Tools, call: Call): Promise<object> {
  const { name } = parseParams(call.command, call.params);
  const files = await tools.files();
  const given = call.params ?? {};
  if (name === "system.run") return run(tools, COMMAND_PARAMS[name].parse(given), call);
  if (name === "system.which") return which(tools, COMMAND_PARAMS[name].parse(given).bin);
  if (name === "file.read") return files.read(COMMAND_PARAMS[name].parse(given));
  if (name === "file.write") return files.write(COMMAND_PARAMS[name].parse(given));
  if (name === "file.list") return files.list(COMMAND_PARAMS[name].parse(given));
  return ofJob(tools.jobs, name, call);
}

async function ofJob(jobs: Jobs, name: CommandName, call: Call): Promise<object> {
  if (name === "process.list")
    return { jobs: jobs.list(call.sessionId).map(jobView), nowMs: Date.now() };
  const { jobId } = COMMAND_PARAMS["process.get"].parse(call.params ?? {});
  const job = jobs.get(jobId, call.sessionId);
  if (name === "process.get") return { job: jobView(job) };
  if (name === "process.logs") return logs(job, call.params);
  if (name === "process.write") return write(job, call.params);
  if (name === "process.resize") return resize(job, call.params);
  if (job.exit) throw new NodeError("NOT_RUNNING", `job ${jobId} has ended`);
  await job.kill(KILL_GRACE_MS);
  await job.ended;
  return { jobId, signal: "SIGTERM" };
}

async function logs(job: Job, params: unknown): Promise<object> {
  const { jobId, tailBytes } = COMMAND_PARAMS["process.logs"].parse(params);
  const texts = await outputs(job, tailBytes);
  return { jobId, running: !job.exit, ...texts, ...truncated(texts, tailBytes) };
}

const truncated = (
  { stdoutBytes, stderrBytes }: { stdoutBytes: number; stderrBytes: number },
  kept: number,
) => ({ stdoutTruncated: stdoutBytes > kept, stderrTruncated: stderrBytes > kept });

async function write(job: Job, params: unknown): Promise<object> {
  const { jobId, dataBase64, offset, close } = COMMAND_PARAMS["process.write"].parse(params);
  const bytes = Buffer.from(dataBase64, "base64");
  const maxBytes = job.meta.terminalFor === null ? MAX_STDIN_BYTES : MAX_TYPED_BYTES;
  const stdinBytes = await job.write(bytes, { offset, close, maxBytes });
  return { jobId, stdinBytes };
}

async function resize(job: Job, params: unknown): Promise<object> {
  const size = COMMAND_PARAMS["process.resize"].parse(params);
  await job.resize(size);
  return size;
}

async function run(tools: Tools, params: SystemRun, call: Call): Promise<object> {
  if (params.pty) await demandTerminals();
  if (params.cwd !== undefined && !isAbsolute(params.cwd))
    throw new NodeError("BAD_INPUT", "cwd: give an absolute path");
  const job = await tools.jobs.start(params, call);
  const cancel = () => void job.kill(KILL_GRACE_MS).catch(() => undefined);
  if (call.signal.aborted) cancel();
  call.signal.addEventListener("abort", cancel, { once: true });
  try {
    await sleepOr(job.meta.yieldMs, job.ended);
  } finally {
    call.signal.removeEventListener("abort", cancel);
  }
  // Decided and written down together: either this answer tells the end, or a notice does.
  if (job.exit) return finished(job, params.outputBytes ?? FOREGROUND_BYTES);
  await job.saveMeta({ backgrounded: true });
  return inBackground(job, params);
}

/** Said before anything is started. */
async function demandTerminals(): Promise<void> {
  const found = await findPty();
  if ("missing" in found) throw new NodeError("UNSUPPORTED", found.missing);
}

const head = ({ meta, started }: Job) => ({
  jobId: meta.jobId,
  argv: meta.argv,
  cwd: meta.cwd,
  timeoutMs: meta.timeoutMs,
  pid: started?.child.pid ?? null,
});

async function finished(job: Job, outputBytes: number): Promise<object> {
  const { exit, meta } = job;
  if (!exit) throw new NodeError("NOT_READY", `job ${meta.jobId} has not ended`);
  const { jobId } = meta;
  if (exit.spawnError) throw new NodeError("SPAWN_FAILED", exit.spawnError, jobId);
  if (exit.orphaned)
    throw new NodeError("OUTCOME_UNKNOWN", exit.reason ?? "its outcome was lost", jobId);
  const texts = await outputs(job, outputBytes);
  const { exitCode, signal, timedOut, reason } = exit;
  return {
    ...head(job),
    running: false,
    yieldMs: meta.yieldMs,
    exitCode,
    signal,
    timedOut,
    ...(reason ? { reason } : {}),
    ...texts,
    ...truncated(texts, outputBytes),
  };
}

async function inBackground(job: Job, params: SystemRun): Promise<object> {
  const tailBytes = Math.min(params.outputBytes ?? TAIL_BYTES, TAIL_BYTES);
  const { stdout, stderr, stdoutBytes, stderrBytes } = await outputs(job, tailBytes);
  const tails = { stdoutTail: stdout, stderrTail: stderr, stdoutBytes, stderrBytes };
  return { ...head(job), running: true, yieldMs: params.yieldMs ?? null, ...tails };
}

/** The first executable regular file of that name on PATH. */
async function which({ path }: Tools, bin: string): Promise<object> {
  const places = bin.includes("/")
    ? [bin]
    : path.split(delimiter).map((folder) => join(folder, bin));
  for (const place of places) {
    const file = await stat(place).catch(() => undefined);
    const runs =
      file?.isFile() &&
      (await access(place, constants.X_OK).then(
        () => true,
        () => false,
      ));
    if (runs) return { bin, path: place };
  }
  return { bin, path: null };
}
