import { setTimeout as delay } from "node:timers/promises";
import { monotonicMs } from "#lib/clock.ts";
import { ArgusError, isErrno } from "#lib/errors.ts";
import { type ProcessEntry, processTable } from "#lib/process-table.ts";
import type { Isolation } from "./isolation.ts";
import { carriesMark } from "./pressure/tasks.ts";

export interface KillOptions {
  isolation: Isolation;
  podUid: string;
}

const DEADLINE_MS = 10_000;
const POLL_MS = 25;
/** Looks for what was started meanwhile, before what was found is ended. */
const MAX_ROUNDS = 50;

/**
 * SIGKILL to everything of the session but this process and its ancestors. Where the uid is proved to be the session's
 * alone, one call that needs no fork and that no new process escapes; else this process's descendants and the readable
 * processes with the pod's mark, all stopped before any is ended, looked for again until none is left. Throws Timeout
 * when some do not die in 10 s.
 */
export async function killAgent({ isolation, podUid }: KillOptions): Promise<void> {
  const deadline = monotonicMs() + DEADLINE_MS;
  for (;;) {
    const found = await sessionProcesses(podUid);
    if (found.length === 0) return;
    if (monotonicMs() > deadline) {
      const message = "processes of the session do not end after SIGKILL";
      throw new ArgusError("Timeout", message, { pids: found.slice(0, 20) });
    }
    if (isolation === "Degraded") for (const pid of await halted(found, podUid)) kill(pid);
    else kill(-1);
    await delay(POLL_MS);
  }
}

/** Stops what it finds until nothing new comes: a stopped process keeps its place under the limit and forks no more. */
async function halted(first: number[], podUid: string): Promise<number[]> {
  const stopped = new Set<number>();
  let found = first;
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const fresh = found.filter((pid) => !stopped.has(pid));
    if (fresh.length === 0) break;
    for (const pid of fresh) {
      kill(pid, "SIGSTOP");
      stopped.add(pid);
    }
    found = await sessionProcesses(podUid);
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

async function sessionProcesses(podUid: string): Promise<number[]> {
  const table = await processTable();
  const spared = ancestors(table);
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
