import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { ArgusError, isErrno } from "./errors.ts";
import { type ProcessEntry, processTable, sameBoot, startTimeOf } from "./process-table.ts";

/**
 * A process that cannot be confused with another one: process ids are reused, a start time (with the boot it belongs to)
 * is not. `startTime` is opaque: compare it, never parse it.
 */
export interface ProcessRecord {
  pid: number;
  startTime: string;
}

/** An environment variable that marks processes as ours, e.g. `{name: "ARGUS_POD_UID", value: "…"}`. Linux only. */
export interface ProcessMark {
  name: string;
  value: string;
}

export interface EndOptions {
  roots: readonly ProcessRecord[];
  /** Processes that carry it are ended too, wherever they went. */
  mark?: ProcessMark;
  /** Between SIGTERM and SIGKILL; 0 = SIGKILL at once. */
  graceMs: number;
  /** Aborted = the rest of the grace is skipped. */
  hurry?: AbortSignal;
}

/** How long ended processes may take to leave the process table before it counts as an error. */
const KILL_DEADLINE_MS = 10_000;
const POLL_MS = 25;
const MAX_POLL_MS = 500;

/** What to write down about a process just started. Throws NotFound when it is gone already. */
export async function recordProcess(pid: number): Promise<ProcessRecord> {
  const startTime = await startTimeOf(pid);
  if (startTime === undefined) throw new ArgusError("NotFound", `no process ${pid}`, { pid });
  return { pid, startTime };
}

/** Whether the recorded process still runs (a zombie does not). */
export async function sameProcess(pid: number, startTime: string): Promise<boolean> {
  return (await startTimeOf(pid)) === startTime;
}

/**
 * Ends the recorded processes that still match, their descendants, their process groups and sessions, and every
 * process with the mark: SIGTERM to the groups, after `graceMs` SIGKILL to what is left. Never touches a process
 * whose id was merely reused, nor itself. Resolves to the number of processes that it found; throws Timeout when
 * some do not die.
 */
export async function endProcessTree(options: EndOptions): Promise<number> {
  const known = new Map<string, ProcessEntry>();
  let alive = await collect(options, known);
  if (options.graceMs > 0 && alive.length > 0) {
    for (const pid of new Set(alive.map(({ group }) => group))) {
      // Only a group whose leader is ours may be signalled as a whole.
      if (alive.some((entry) => entry.pid === pid)) send(-pid, "SIGTERM");
    }
    for (const { pid, group } of alive) {
      if (!alive.some((entry) => entry.pid === group)) send(pid, "SIGTERM");
    }
    alive = await waitUntilGone(options, known, options.graceMs);
  }
  for (const deadline = Date.now() + KILL_DEADLINE_MS; alive.length > 0; ) {
    if (Date.now() > deadline) {
      const pids = alive.map(({ pid }) => pid);
      const message = `processes ${pids.join(", ")} do not end: another user's? End them by hand, then start again`;
      throw new ArgusError("Timeout", message, { pids });
    }
    for (const { pid } of alive) send(pid, "SIGKILL");
    await delay(POLL_MS);
    // Looked at again: what forked while we looked is found by its parent, group or mark.
    alive = await collect(options, known);
  }
  return known.size;
}

async function waitUntilGone(
  options: EndOptions,
  known: Map<string, ProcessEntry>,
  graceMs: number,
): Promise<ProcessEntry[]> {
  const deadline = Date.now() + graceMs;
  let alive = await collect(options, known);
  // A look reads all of /proc, so a long grace is looked at less and less often.
  let pauseMs = POLL_MS;
  while (alive.length > 0 && Date.now() < deadline && !options.hurry?.aborted) {
    await delay(Math.min(pauseMs, deadline - Date.now()));
    pauseMs = Math.min(pauseMs * 1.5, MAX_POLL_MS);
    alive = await collect(options, known);
  }
  return alive;
}

const identity = ({ pid, startTime }: ProcessRecord) => `${pid}@${startTime}`;

/** The living processes that belong to the roots; remembers each, since a dead parent no longer names its children. */
async function collect(
  { roots, mark }: EndOptions,
  known: Map<string, ProcessEntry>,
): Promise<ProcessEntry[]> {
  const table = (await processTable()).filter(({ pid }) => pid !== process.pid);
  const wanted = new Set([...roots.map(identity), ...known.keys()]);
  const marked = mark ? await withMark(table, mark) : [];
  const members = new Set(
    [...table.filter((entry) => wanted.has(identity(entry))), ...marked].map(({ pid }) => pid),
  );
  for (const { pid } of orphanedMembers(table, roots)) members.add(pid);
  grow(table, members);
  const alive = table.filter(({ pid }) => members.has(pid));
  for (const entry of alive) known.set(identity(entry), entry);
  return alive;
}

/**
 * What a recorded leader left in its group and session when it died. Its id cannot be given to another process
 * while one of them lives, so an id without a process and with members is still the recorded one's.
 */
function orphanedMembers(
  table: readonly ProcessEntry[],
  roots: readonly ProcessRecord[],
): ProcessEntry[] {
  const living = new Set(table.map(({ pid }) => pid));
  const gone = roots.filter(({ pid }) => !living.has(pid));
  return table.filter((entry) =>
    gone.some(
      (root) => sameBoot(root, entry) && (entry.group === root.pid || entry.session === root.pid),
    ),
  );
}

/** Adds to `members` all descendants, and the groups and sessions that a member leads. */
function grow(table: readonly ProcessEntry[], members: Set<number>): void {
  for (let before = -1; before !== members.size; ) {
    before = members.size;
    for (const { pid, parent, group, session } of table) {
      if (members.has(parent) || members.has(group) || members.has(session)) members.add(pid);
    }
  }
}

async function withMark(
  table: readonly ProcessEntry[],
  { name, value }: ProcessMark,
): Promise<ProcessEntry[]> {
  if (process.platform !== "linux") return [];
  const found = await Promise.all(
    table.map(async (entry) => {
      // Not readable = another user's process or just gone: not ours.
      const text = await readFile(`/proc/${entry.pid}/environ`, "latin1").catch(() => "");
      return `\0${text}`.includes(`\0${name}=${value}\0`) ? [entry] : [];
    }),
  );
  return found.flat();
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!isErrno(error, "ESRCH", "EPERM")) throw error;
  }
}
