import { readdirSync, readFileSync } from "node:fs";

export interface FoundProcess {
  pid: number;
  command: string;
}

const text = (path: string): string => {
  try {
    return readFileSync(path, "utf8").replaceAll("\0", " ");
  } catch {
    return ""; // it ended meanwhile, or is not ours to read
  }
};

/** Live processes (Linux) whose command line or environment names `marker`, a path that only this test uses. */
export function processesOf(marker: string): FoundProcess[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((name) => ({ pid: Number(name), command: text(`/proc/${name}/cmdline`) }))
    .filter(({ pid, command }) => `${command} ${text(`/proc/${pid}/environ`)}`.includes(marker))
    .filter(({ pid }) => !/^State:\s+Z/m.test(text(`/proc/${pid}/status`)));
}

/** SIGKILL to each; one that has gone already is no error. */
export function killAll(processes: readonly FoundProcess[]): void {
  for (const { pid } of processes) {
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
}
