import { mkdir, open, readFile, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { isErrno } from "#lib/errors.ts";

/** What a job's folder holds. Each file has one writer: the node-host, or the job's supervisor. */
export const JOB_FILES = {
  /** {@link JobMeta}, by the node-host. */
  meta: "meta.json",
  /** {@link JobStarted}, by the supervisor. */
  started: "started.json",
  /** {@link JobExit}, by the supervisor; by the node-host when the supervisor was lost. */
  exit: "exit.json",
  stdout: "stdout.log",
  stderr: "stderr.log",
  /** Appended by the node-host, fed to the program by the supervisor. */
  stdin: "stdin.log",
  /** Exists when nothing more will be appended. */
  stdinClosed: "stdin.closed",
  /** Exists once nobody has to be told of the end any more. */
  told: "told",
} as const;

const process = z.object({ pid: z.int(), startTime: z.string() });

export const JobMeta = z.object({
  version: z.literal(1),
  jobId: z.string(),
  nodeId: z.string(),
  /** The call that started it: a repeat of it starts nothing. */
  callId: z.string(),
  sessionId: z.string().nullable(),
  argv: z.array(z.string()),
  cwd: z.string(),
  stdinTextBytes: z.int(),
  createdAtMs: z.number(),
  timeoutMs: z.number().nullable(),
  yieldMs: z.number(),
  notifyOnExitMode: z.enum(["auto", "always", "never"]),
  /** Set when a call was answered while it still ran. */
  backgrounded: z.boolean(),
});
export type JobMeta = z.infer<typeof JobMeta>;

export const JobStarted = z.object({
  supervisor: process,
  child: process,
  startedAtMs: z.number(),
});
export type JobStarted = z.infer<typeof JobStarted>;

export const JobExit = z.object({
  exitCode: z.int().nullable(),
  signal: z.string().nullable(),
  timedOut: z.boolean(),
  /** Nobody knows how it ended. */
  orphaned: z.boolean().default(false),
  /** The program could not be started. */
  spawnError: z.string().optional(),
  reason: z.string().optional(),
  endedAtMs: z.number(),
  stdoutBytes: z.int(),
  stderrBytes: z.int(),
});
export type JobExit = z.infer<typeof JobExit>;

/** What the supervisor gets on its stdin, as one JSON value; the environment never touches the disk. */
export const SupervisorOrder = z.object({
  jobId: z.string(),
  argv: z.array(z.string()),
  cwd: z.string(),
  env: z.record(z.string(), z.string()),
  timeoutMs: z.number().nullable(),
  /** Whether stdin is a pipe fed from the file; else it is /dev/null. */
  stdin: z.boolean(),
  maxOutputBytes: z.int(),
});
export type SupervisorOrder = z.infer<typeof SupervisorOrder>;

/** Replaces a file at once and keeps it over a power cut. */
export async function writeDurably(path: string, text: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.tmp`;
  const file = await open(temporary, "w", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
}

/** Undefined when there is no such file, or none that can be read as one. */
export async function readRecord<T extends z.ZodType>(
  schema: T,
  folder: string,
  name: string,
): Promise<z.output<T> | undefined> {
  try {
    const parsed = schema.safeParse(JSON.parse(await readFile(join(folder, name), "utf8")));
    return parsed.success ? parsed.data : undefined;
  } catch (error) {
    if (isErrno(error, "ENOENT") || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
