import { z } from "zod";

/** Parameters of each command that a node runs; results are described beside them. Errors: `NodeErrorCode` of node.ts. */

export const MAX_STDIN_TEXT_BYTES = 1024 * 1024;
/** Returned of each output by a call that waited for the end. */
export const FOREGROUND_BYTES = 2 * 1024 * 1024;
export const MAX_FILE_BYTES = 4 * 1024 * 1024;
export const MAX_TERMINAL_SIDE = 2000;
export const DEFAULT_YIELD_MS = 10_000;

const path = z.string().min(1).max(4096);
const jobId = z.string().min(1).max(128);

/** In characters. */
const TerminalSize = z.object({
  cols: z.int().min(1).max(MAX_TERMINAL_SIDE),
  rows: z.int().min(1).max(MAX_TERMINAL_SIDE),
});

/**
 * Runs `argv` without a shell. Waits for the end up to `yieldMs`, then leaves the job in the background. Result, ended in time:
 * `{jobId, running:false, argv, cwd, timeoutMs, yieldMs, pid, exitCode, signal, timedOut, stdout, stderr, stdoutBytes, stderrBytes,
 * stdoutTruncated, stderrTruncated}`; still running: `{jobId, running:true, argv, cwd, timeoutMs, yieldMs, pid, stdoutTail,
 * stderrTail, stdoutBytes, stderrBytes}`.
 */
export const SystemRun = z.object({
  argv: z
    .array(z.string().max(128 * 1024))
    .min(1)
    .max(4096),
  cwd: path.optional(),
  env: z.record(z.string(), z.string()).optional(),
  /** The whole process tree is killed then. */
  timeoutMs: z.number().min(1).nullish(),
  yieldMs: z.number().min(0).max(3_600_000).nullish(),
  notifyOnExit: z.boolean().nullish(),
  stdinText: z
    .string()
    .refine((text) => Buffer.byteLength(text) <= MAX_STDIN_TEXT_BYTES, "at most 1 MiB")
    .nullish(),
  /** Of each output in the answer, its end; who follows the job's streams wants none. */
  outputBytes: z.int().min(0).max(FOREGROUND_BYTES).nullish(),
  /** Keep stdin open for `process.write`. */
  stdin: z.boolean().optional(),
  /** On a terminal, where the device has them: its output is stdout, its input what `process.write` says. `true` = 80 × 24. */
  pty: z.union([z.boolean(), TerminalSize]).optional(),
});
export type SystemRun = z.infer<typeof SystemRun>;

/** `{bin, path}`: the first executable regular file on PATH; path null when there is none. */
export const SystemWhich = z.object({ bin: z.string().min(1).max(4096) });
/** `{jobs:[…], nowMs}`, running first, newest first. Times are by the device's clock, which `nowMs` tells. */
export const ProcessList = z.object({});
/** `{job}`. */
export const ProcessGet = z.object({ jobId });
/** `{jobId, running, stdout, stderr, stdoutBytes, stderrBytes, stdoutTruncated, stderrTruncated}`: the ends of both outputs. */
export const ProcessLogs = z.object({
  jobId,
  tailBytes: z.int().min(1024).max(2_097_152).default(65_536),
});
/** `{jobId, signal:"SIGTERM"}`: SIGTERM to the tree, SIGKILL after 1.5 s to what is left. */
export const ProcessKill = z.object({ jobId });
/**
 * Appends to stdin: `{jobId, stdinBytes}`. `offset` = bytes that were written before this call; with it a repeat adds nothing
 * twice. `close` ends stdin after the data.
 */
export const ProcessWrite = z.object({
  jobId,
  dataBase64: z
    .base64()
    .max(2 * 1024 * 1024)
    .default(""),
  offset: z.int().min(0).optional(),
  close: z.boolean().default(false),
});

/** The terminal of a job has another size: `{jobId, cols, rows}`; its program gets SIGWINCH. */
export const ProcessResize = z.object({ jobId, ...TerminalSize.shape });

/** `{path, dataBase64, bytes, size}`: up to `maxBytes` from `offset` of a regular file. */
export const FileRead = z.object({
  path,
  offset: z.int().min(0).default(0),
  maxBytes: z.int().min(1).max(MAX_FILE_BYTES).default(MAX_FILE_BYTES),
});
/** `{path, bytes}`: the whole file is replaced at once, or not at all. */
export const FileWrite = z.object({
  path,
  dataBase64: z.base64().max(Math.ceil((MAX_FILE_BYTES * 4) / 3) + 4),
  createOnly: z.boolean().default(false),
});
/** `{path, entries:[{name, kind: file|folder|link|other, size}], truncated}`, by name. */
export const FileList = z.object({ path });

export const COMMAND_PARAMS = {
  "system.run": SystemRun,
  "system.which": SystemWhich,
  "process.list": ProcessList,
  "process.get": ProcessGet,
  "process.logs": ProcessLogs,
  "process.kill": ProcessKill,
  "process.write": ProcessWrite,
  "process.resize": ProcessResize,
  "file.read": FileRead,
  "file.write": FileWrite,
  "file.list": FileList,
} as const;
export type CommandName = keyof typeof COMMAND_PARAMS;
