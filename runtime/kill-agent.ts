import { setTimeout as delay } from "node:timers/promises";
import { monotonicMs } from "#lib/clock.ts";
import { ArgusError, isErrno } from "#lib/errors.ts";
import { type ProcessEntry, processTable } from "#lib/process-table.ts";
import type { Isolation } from "./isolation.ts";
import type { OpenJob } from "./options.ts";
import { carriesMark, jobOf } from "./pressure/tasks.ts";

export interface KillOptions {
  isolation: Isolation;
  podUid: string;
  /** Jobs that are to go on, with everything that they started. */
  spare?: readonly OpenJob[];
}

const DEADLINE_MS = 10_000;
const POLL_MS = 25;
/** Looks for what was started meanwhile, before what was found is ended. */
const MAX_ROUNDS = 50;

/**
 * SIGKILL to everything of the session but this process and its ancestors. Where the uid is proved to be the session's
 * alone, one call that needs no fork and that no new process escapes; else this process's descendants and the readable
 * processes with the pod's mark, all stopped before any is ended, looked for again until none is left; so it is where
 * something is spared, too. Throws Timeout when some do not die in 10 s.
 */
export async function killAgent({ isolation, podUid, spare = [] }: KillOptions): Promise<void> {
  const deadline = monotonicMs() + DEADLINE_MS;
  for (;;) {
    const found = await sessionProcesses(podUid, spare);
    if (found.length === 0) return;
    if (monotonicMs() > deadline) {
      const message = "processes of the session do not end after SIGKILL";
      throw new ArgusError("Timeout", message, { pids: found.slice(0, 20) });
    }
    if (isolation === "Degraded" || spare.length > 0)
      for (const pid of await halted(found, () => sessionProcesses(podUid, spare))) kill(pid);
    else kill(-1);
    await delay(POLL_MS);
  }
}

/** Stops what it finds until nothing new comes: a stopped process keeps its place under the limit and forks no more. */
async function halted(first: number[], look: () => Promise<number[]>): Promise<number[]> {
  const stopped = new Set<number>();
  let found = first;
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const fresh = found.filter((pid) => !stopped.has(pid));
    if (fresh.length === 0) break;
    for (const pid of fresh) {
      kill(pid, "SIGSTOP");
      stopped.add(pid);
    }
    found = await look();
  }
  return [...stopped];
}

function kill(pid: number, signal: NodeJS.Signals = "SIGKILL"): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!isErrno(error, "ESRCH", "EPERM")) throw error;
  }
}

async function sessionProcesses(podUid: string, jobs: readonly OpenJob[]): Promise<number[]> {
  const table = await processTable();
  const spared = new Set([...ancestors(table), ...(await processesOf(jobs, table))]);
  const others = table.filter(({ pid }) => !spared.has(pid));
  const marks = await Promise.all(others.map(({ pid }) => carriesMark(pid, podUid)));
  const members = new Set([
    process.pid,
    ...others.filter((_, index) => marks[index]).map(({ pid }) => pid),
  ]);
  for (let before = -1; before !== members.size; ) {
    before = members.size;
    for (const { pid, parent, group } of others) {
      if (members.has(parent) || isMembersGroup(members, group)) members.add(pid);
    }
  }
  members.delete(process.pid);
  return [...members];
}

/** A job's supervisor and what it started, also what left its tree. */
async function processesOf(
  jobs: readonly OpenJob[],
  table: readonly ProcessEntry[],
): Promise<Set<number>> {
  const found = new Set(jobs.flatMap(({ supervisor }) => supervisor ?? []));
  if (jobs.length === 0) return found;
  const ids = new Set(jobs.map(({ jobId }) => jobId));
  const marks = await Promise.all(table.map(({ pid }) => jobOf(pid)));
  table.forEach(({ pid }, index) => {
    if (ids.has(marks[index] ?? "")) found.add(pid);
  });
  for (let before = -1; before !== found.size; ) {
    before = found.size;
    for (const { pid, parent } of table) if (found.has(parent)) found.add(pid);
  }
  return found;
}

/** A group that one of ours leads is ours; our own group may hold who started us. */
const isMembersGroup = (members: ReadonlySet<number>, group: number) =>
  group !== process.pid && members.has(group);

/** This process and all above it: the reaper carries the mark too. */
function ancestors(table: readonly ProcessEntry[]): Set<number> {
  const parents = new Map(table.map(({ pid, parent }) => [pid, parent]));
  const found = new Set<number>([process.pid]);
  for (let pid = parents.get(process.pid); pid && !found.has(pid); pid = parents.get(pid)) {
    found.add(pid);
  }
  return found;
}
