import { readdir, readFile } from "node:fs/promises";

export interface Marked {
  /** Value of ARGUS_POD_UID in the environment of the session's processes. */
  podUid: string;
}

/** One process as /proc tells it. */
interface Task {
  pid: number;
  parent: number;
  uid: number;
  threads: number;
  residentBytes: number;
}

export interface Usage {
  /** Processes and threads, as RLIMIT_NPROC counts them. */
  tasks: number;
  residentBytes: number;
}

/** All processes of this uid. Undefined where there is no /proc. */
export async function usageOfUid(): Promise<Usage | undefined> {
  const uid = process.getuid?.();
  const all = await readTasks();
  return all && sum(all.filter((task) => task.uid === uid));
}

/** This process, all it started, and every readable process that carries the pod's mark. */
export async function usageOfSession(marked: Marked): Promise<Usage | undefined> {
  const all = await readTasks();
  if (!all) return undefined;
  const members = new Set([process.pid, ...(await markedPids(all, marked))]);
  for (let before = -1; before !== members.size; ) {
    before = members.size;
    for (const { pid, parent } of all) if (members.has(parent)) members.add(pid);
  }
  return sum(all.filter(({ pid }) => members.has(pid)));
}

async function markedPids(all: readonly Task[], { podUid }: Marked): Promise<number[]> {
  const own = all.filter(({ uid }) => uid === process.getuid?.());
  const marks = await Promise.all(own.map(({ pid }) => carriesMark(pid, podUid)));
  return own.filter((_, index) => marks[index]).map(({ pid }) => pid);
}

/** Whether the process was started with ARGUS_POD_UID=`podUid`; not readable = no. */
export async function carriesMark(pid: number, podUid: string): Promise<boolean> {
  const text = await readFile(`/proc/${pid}/environ`, "latin1").catch(() => "");
  return `\0${text}`.includes(`\0ARGUS_POD_UID=${podUid}\0`);
}

/** The job that the process was started for, by the mark of it or of its supervisor. */
export async function jobOf(pid: number): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/environ`, "latin1").catch(() => "");
  return /(?:^|\0)ARGUS_JOB_(?:ID|SUPERVISOR)=([^\0]*)/.exec(text)?.[1];
}

async function readTasks(): Promise<Task[] | undefined> {
  const names = await readdir("/proc").catch(() => undefined);
  if (!names) return undefined;
  const pids = names.filter((name) => /^\d+$/.test(name)).map(Number);
  const tasks = await Promise.all(pids.map(readTask));
  return tasks.filter((task) => task !== undefined);
}

async function readTask(pid: number): Promise<Task | undefined> {
  const status = await readFile(`/proc/${pid}/status`, "latin1").catch(() => undefined);
  return status === undefined ? undefined : parseStatus(pid, status);
}

/** A zombie has no threads line of use, but counts as one task. */
export function parseStatus(pid: number, status: string): Task {
  const field = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0);
  return {
    pid,
    parent: field("PPid"),
    uid: field("Uid"),
    threads: Math.max(1, field("Threads")),
    residentBytes: field("VmRSS") * 1024,
  };
}

function sum(tasks: readonly Task[]): Usage {
  return {
    tasks: tasks.reduce((total, { threads }) => total + threads, 0),
    residentBytes: tasks.reduce((total, { residentBytes }) => total + residentBytes, 0),
  };
}
