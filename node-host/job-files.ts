import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { isErrno } from "#lib/errors.ts";

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
  /** It runs on a terminal, for whom: what that one types into it was decided with its start. */
  terminalFor: z.enum(["person", "agent"]).nullable().default(null),
  /** Its supervisor writes `starting`. */
  marksStart: z.boolean().default(false),
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
