import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, watch } from "node:fs";
import { type FileHandle, open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { writeDurably } from "#lib/durable-file.ts";
import { errorMessage } from "#lib/errors.ts";
import { endProcessTree, recordProcess } from "#lib/process-record.ts";
import type { JobExit } from "./job-files.ts";
import { JOB_FILES, type SupervisorOrder, type TerminalSize } from "./job-folder.ts";
import { startTerminal } from "./terminal.ts";

/** Marks every process of a job, so that those which left its group are found. */
export const JOB_MARK = "ARGUS_JOB_ID";
/** Marks the supervisor, which must outlive them. */
export const SUPERVISOR_MARK = "ARGUS_JOB_SUPERVISOR";
const STDIN_POLL_MS = 50;
const SIZE_POLL_MS = 500;
const COPY_BYTES = 64 * 1024;

type End = Pick<JobExit, "exitCode" | "signal" | "spawnError">;

/**
 * The process between a node-host and one job. It outlives the node-host, gives the program its output files, feeds its stdin,
 * ends it as a tree at its deadline, and writes how it ended. Reads a {@link SupervisorOrder} on stdin.
 */
export async function supervise(folder: string): Promise<number> {
  // The node-host's terminal may go; the job stays.
  process.on("SIGHUP", () => undefined);
  const order = orderOf(await text(process.stdin));
  const outputs = await Promise.all(
    [JOB_FILES.stdout, JOB_FILES.stderr].map((name) => open(join(folder, name), "a", 0o600)),
  );
  const exit = await run(folder, order, outputs);
  const [stdoutBytes = 0, stderrBytes = 0] = await Promise.all(
    outputs.map(async (file) => (await file.stat()).size),
  );
  await writeDurably(
    join(folder, JOB_FILES.exit),
    JSON.stringify({ ...exit, endedAtMs: Date.now(), stdoutBytes, stderrBytes }),
  );
  return 0;
}

/** By the node-host that started this; one of another version (the file was replaced under it) must not start half an order. */
function orderOf(json: string): SupervisorOrder {
  const order = JSON.parse(json) as SupervisorOrder;
  const isWhole =
    typeof order.jobId === "string" &&
    Array.isArray(order.argv) &&
    typeof order.cwd === "string" &&
    typeof order.env === "object" &&
    typeof order.stdin === "boolean" &&
    typeof order.maxOutputBytes === "number" &&
    (order.timeoutMs === null || typeof order.timeoutMs === "number");
  if (!isWhole) throw new Error("the order of the node-host is not valid");
  return order;
}

async function run(
  folder: string,
  order: SupervisorOrder,
  outputs: FileHandle[],
): Promise<Omit<JobExit, "endedAtMs" | "stdoutBytes" | "stderrBytes" | "orphaned">> {
  await writeDurably(join(folder, JOB_FILES.starting), "");
  const program = await start(order, outputs);
  if (program.pid === undefined) return { ...(await program.ended), timedOut: false };
  const over = new AbortController();
  const limit = limits(folder, order, program.pid, over.signal);
  await writeStarted(folder, program.pid);
  const feed = order.stdin ? feedStdin(folder, program, over.signal) : Promise.resolve();
  const end = await program.ended;
  over.abort();
  await feed;
  return { ...end, ...(await limit) };
}

/** A program that was started, or (without a pid) was not. */
interface Program {
  pid: number | undefined;
  ended: Promise<End>;
  /** Resolves when there is room for more. */
  write: (bytes: Buffer, over: AbortSignal) => Promise<void>;
  endInput: () => void;
  resize?: (size: TerminalSize) => void;
}

function start(order: SupervisorOrder, outputs: FileHandle[]): Promise<Program> {
  const env = { ...order.env, [JOB_MARK]: order.jobId };
  const { size } = order;
  if (size) return onTerminal({ ...order, env, size }, outputs[0]?.fd ?? -1);
  return Promise.resolve(onFiles({ ...order, env }, outputs));
}

function onFiles(order: SupervisorOrder, outputs: FileHandle[]): Program {
  const [program = "", ...args] = order.argv;
  const child = spawn(program, args, {
    cwd: order.cwd,
    env: order.env,
    stdio: [order.stdin ? "pipe" : "ignore", ...outputs.map(({ fd }) => fd)],
    detached: true,
    windowsHide: true,
  });
  // A program need not read its stdin to the end.
  child.stdin?.on("error", () => undefined);
  return {
    pid: child.pid,
    ended: endOf(child),
    write: (bytes, over) => written(child, bytes, over),
    endInput: () => child.stdin?.end(),
  };
}

async function onTerminal(
  order: SupervisorOrder & { size: TerminalSize },
  output: number,
): Promise<Program> {
  try {
    const terminal = await startTerminal(order, output);
    const write = async (bytes: Buffer) => terminal.write(bytes);
    return { ...terminal, write, endInput: () => terminal.end() };
  } catch (error) {
    const ended = { exitCode: null, signal: null, spawnError: errorMessage(error) };
    const nothing = { write: async () => undefined, endInput: () => undefined };
    return { pid: undefined, ended: Promise.resolve(ended), ...nothing };
  }
}

/** How it ended; a program that could not be started has no exit code and no signal. */
function endOf(child: ChildProcess): Promise<End> {
  return new Promise((resolve) => {
    child.on("error", (error) => {
      if (child.pid === undefined)
        resolve({ exitCode: null, signal: null, spawnError: errorMessage(error) });
    });
    child.on("exit", (exitCode, signal) => resolve({ exitCode, signal }));
  });
}

async function writeStarted(folder: string, pid: number): Promise<void> {
  // A program that ended at once has no start time any more; then there is nothing to adopt or to kill either.
  const record = (one: number) =>
    recordProcess(one).catch(() => ({ pid: one, startTime: "ended" }));
  const [supervisor, child] = await Promise.all([record(process.pid), record(pid)]);
  const started = { supervisor, child, startedAtMs: Date.now() };
  await writeDurably(join(folder, JOB_FILES.started), JSON.stringify(started));
}

/** Ends the tree at its deadline (a duration: a clock that jumps moves nothing) or when its output fills its room. */
async function limits(
  folder: string,
  order: SupervisorOrder,
  pid: number,
  over: AbortSignal,
): Promise<{ timedOut: boolean; reason?: string }> {
  const root = await recordProcess(pid).catch(() => undefined);
  const deadline = order.timeoutMs === null ? Number.POSITIVE_INFINITY : order.timeoutMs;
  const started = performance.now();
  while (!over.aborted) {
    const left = deadline - (performance.now() - started);
    const full = await isFull(folder, order.maxOutputBytes);
    if (left <= 0 || full) {
      await endProcessTree({
        roots: root ? [root] : [],
        mark: { name: JOB_MARK, value: order.jobId },
        graceMs: 0,
      });
      const reason = `killed: its output is more than ${order.maxOutputBytes} bytes`;
      return full ? { timedOut: false, reason } : { timedOut: true };
    }
    const pauseMs = Math.max(1, Math.min(left, SIZE_POLL_MS));
    await delay(pauseMs, undefined, { signal: over }).catch(() => undefined);
  }
  return { timedOut: false };
}

async function isFull(folder: string, maxBytes: number): Promise<boolean> {
  const sizes = await Promise.all(
    [JOB_FILES.stdout, JOB_FILES.stderr].map(async (name) => (await stat(join(folder, name))).size),
  );
  return sizes.some((size) => size > maxBytes);
}

/** Copies what is appended to the stdin file until it is closed or the program ends; follows the terminal's size. */
async function feedStdin(folder: string, program: Program, over: AbortSignal): Promise<void> {
  const file = await open(join(folder, JOB_FILES.stdin), "r");
  const appended = watching(join(folder, JOB_FILES.stdin), over);
  let size = "";
  try {
    for (let offset = 0; !over.aborted; ) {
      if (program.resize) size = await resized(folder, program.resize, size);
      // Looked at before reading: what was appended before the mark is read after it was seen.
      const closed = existsSync(join(folder, JOB_FILES.stdinClosed));
      const change = appended.next();
      const { bytesRead, buffer } = await file.read(
        Buffer.alloc(COPY_BYTES),
        0,
        COPY_BYTES,
        offset,
      );
      offset += bytesRead;
      if (bytesRead === 0 && closed) return program.endInput();
      if (bytesRead === 0) await Promise.race([change, pause(STDIN_POLL_MS, over)]);
      else await program.write(buffer.subarray(0, bytesRead), over);
    }
  } finally {
    appended.close();
    await file.close();
  }
}

const pause = (ms: number, over: AbortSignal) =>
  delay(ms, undefined, { signal: over }).catch(() => undefined);

/** Tells changes of a file; without a watch (no descriptors left) polling alone is slower, not wrong. */
function watching(path: string, over: AbortSignal) {
  let tell: () => void = () => undefined;
  const start = () => {
    try {
      return watch(path, { signal: over }, () => tell()).on("error", () => undefined);
    } catch {
      return undefined;
    }
  };
  const watcher = start();
  const next = () =>
    new Promise<void>((resolve) => {
      tell = resolve;
    });
  return { next, close: () => watcher?.close() };
}

/** Gives the terminal its size when that has changed; a half written one is read again. */
async function resized(
  folder: string,
  resize: (size: TerminalSize) => void,
  before: string,
): Promise<string> {
  const written = await readFile(join(folder, JOB_FILES.size), "utf8").catch(() => before);
  if (written === before) return before;
  const [cols = 0, rows = 0] = written.split(" ").map(Number);
  if (!(cols > 0 && rows > 0 && written.endsWith("\n"))) return before;
  resize({ cols, rows });
  return written;
}

function written(child: ChildProcess, bytes: Buffer, over: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      over.removeEventListener("abort", done);
      resolve();
    };
    over.addEventListener("abort", done, { once: true });
    child.stdin?.write(bytes, done);
  });
}
