import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { promisify } from "node:util";

/** One living process. */
export interface ProcessEntry {
  pid: number;
  parent: number;
  group: number;
  session: number;
  /** Opaque; differs for every process that ever had this id. */
  startTime: string;
}

/** All living processes; a zombie is not living. Linux from /proc, elsewhere from ps. */
export function processTable(): Promise<ProcessEntry[]> {
  return process.platform === "linux" ? linuxTable() : psTable();
}

/** Start time of a living process, undefined when there is none with this id. */
export async function startTimeOf(pid: number): Promise<string | undefined> {
  if (process.platform === "linux") return (await linuxEntry(pid, await bootId()))?.startTime;
  return (await psTable()).find((entry) => entry.pid === pid)?.startTime;
}

/** Whether both were started since the same boot; elsewhere than on Linux start times are absolute and this is true. */
export function sameBoot(a: { startTime: string }, b: { startTime: string }): boolean {
  if (process.platform !== "linux") return true;
  return a.startTime.split(":")[0] === b.startTime.split(":")[0];
}

/** Start times count from boot, so the boot is part of them. */
async function bootId(): Promise<string> {
  const id = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "boot");
  return id.trim();
}

async function linuxTable(): Promise<ProcessEntry[]> {
  const boot = await bootId();
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const entries = await Promise.all(pids.map((pid) => linuxEntry(pid, boot)));
  return entries.filter((entry) => entry !== undefined);
}

async function linuxEntry(pid: number, boot: string): Promise<ProcessEntry | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => undefined);
  return text === undefined ? undefined : parseStat(text, boot);
}

/** A line of /proc/<pid>/stat; undefined for a zombie. The command in parentheses may hold anything, also `) `. */
export function parseStat(text: string, boot: string): ProcessEntry | undefined {
  const pid = Number(text.slice(0, text.indexOf(" ")));
  const [state, parent, group, session, ...rest] = text.slice(text.lastIndexOf(")") + 2).split(" ");
  if (state === "Z" || state === "X") return undefined;
  // Field 22; the four above are 3 to 6.
  const startTime = `${boot}:${rest[15]}`;
  return { pid, parent: Number(parent), group: Number(group), session: Number(session), startTime };
}

async function psTable(): Promise<ProcessEntry[]> {
  const { stdout } = await promisify(execFile)("ps", ["-axo", "pid=,ppid=,pgid=,state=,lstart="], {
    env: { LC_ALL: "C", PATH: "/bin:/usr/bin" },
    maxBuffer: 16 * 1024 * 1024,
  });
  return stdout.split("\n").flatMap(parsePsLine);
}

/** `  12   1   12 S    Mon Nov 24 10:00:00 2025`; ps has no session id that is portable, so the group stands in. */
export function parsePsLine(line: string): ProcessEntry[] {
  const [pid, parent, group, state, ...started] = line.trim().split(/\s+/);
  if (!pid || started.length < 5 || state?.startsWith("Z")) return [];
  return [
    {
      pid: Number(pid),
      parent: Number(parent),
      group: Number(group),
      session: Number(group),
      startTime: started.join(" "),
    },
  ];
}
