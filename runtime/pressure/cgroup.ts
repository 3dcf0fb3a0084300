import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** Used and allowed, e.g. `{used: 40, limit: 256}` tasks or bytes. */
export interface Gauge {
  used: number;
  limit: number;
}

/** A v1 hierarchy without a limit shows a number near 2^63. */
const NO_LIMIT = 2 ** 60;

/** A file that each group of the controller has. */
const PROBES = {
  pids: { v1: "pids.current", v2: "pids.current" },
  memory: { v1: "memory.usage_in_bytes", v2: "memory.current" },
  cpu: { v1: "cpu.cfs_quota_us", v2: "cpu.max" },
};

/** The limits that the container's own cgroup sets, v2 or v1; a resource without a limit or not readable is absent. */
export class Cgroup {
  readonly #root: string;
  readonly #own: string;

  /** `root` and `own` differ in tests only. */
  constructor(root = "/sys/fs/cgroup", own = "/proc/self/cgroup") {
    this.#root = root;
    this.#own = own;
  }

  async pids(): Promise<Gauge | undefined> {
    const folder = await this.#folder("pids");
    return gauge(await number(folder, "pids.current"), await number(folder, "pids.max"));
  }

  /** Without the file cache that the kernel would give back: what counts before an out-of-memory kill. */
  async memory(): Promise<Gauge | undefined> {
    const folder = await this.#folder("memory");
    const limit =
      (await number(folder, "memory.max")) ?? (await number(folder, "memory.limit_in_bytes"));
    const used =
      (await number(folder, "memory.current")) ?? (await number(folder, "memory.usage_in_bytes"));
    if (used === undefined) return undefined;
    return gauge(Math.max(0, used - (await inactiveFileBytes(folder))), limit);
  }

  /** Processes and threads in the group, whether it has a limit or not; absent where they are not counted. */
  async tasks(): Promise<number | undefined> {
    return number(await this.#folder("pids"), "pids.current");
  }

  /** Whether the group's name says that it was made for `mark` alone: where no container hides it, others may share it. */
  async isFor(mark: string): Promise<boolean> {
    return mark !== "" && (await this.#folder("pids")).includes(mark);
  }

  /** How many CPUs the group may use at once, e.g. 0.5. */
  async cpus(): Promise<number | undefined> {
    const folder = await this.#folder("cpu");
    const v2 = /^(\d+) (\d+)/.exec((await text(folder, "cpu.max")) ?? "");
    const quota = v2 ? Number(v2[1]) : await number(folder, "cpu.cfs_quota_us");
    const period = v2 ? Number(v2[2]) : await number(folder, "cpu.cfs_period_us");
    return quota && period ? quota / period : undefined;
  }

  /** How often a start of a process was refused by the pids limit. */
  async pidLimitHits(): Promise<number> {
    const events = await text(await this.#folder("pids"), "pids.events");
    return Number(/^max (\d+)/m.exec(events ?? "")?.[1] ?? 0);
  }

  /** How often the kernel ended a process for want of memory in the group. */
  async oomKills(): Promise<number> {
    const folder = await this.#folder("memory");
    const events =
      (await text(folder, "memory.events")) ?? (await text(folder, "memory.oom_control"));
    return Number(/^oom_kill (\d+)/m.exec(events ?? "")?.[1] ?? 0);
  }

  /** In a container the root is its own group; on a machine /proc/self/cgroup names the place below it. */
  async #folder(controller: keyof typeof PROBES): Promise<string> {
    const lines = ((await text(this.#own, "")) ?? "").split("\n").map((line) => line.split(":"));
    const v1 = lines.find(([, names = ""]) => names.split(",").includes(controller));
    const [base, inside] = v1
      ? [join(this.#root, controller), v1[2] ?? "/"]
      : [this.#root, lines.find(([id]) => id === "0")?.[2] ?? "/"];
    const probe = PROBES[controller][v1 ? "v1" : "v2"];
    const nested = join(base, inside);
    return (await text(nested, probe)) === undefined ? base : nested;
  }
}

function gauge(used: number | undefined, limit: number | undefined): Gauge | undefined {
  if (used === undefined || limit === undefined || limit >= NO_LIMIT) return undefined;
  return { used, limit };
}

async function inactiveFileBytes(folder: string): Promise<number> {
  const stat = (await text(folder, "memory.stat")) ?? "";
  const line = /^total_inactive_file (\d+)/m.exec(stat) ?? /^inactive_file (\d+)/m.exec(stat);
  return Number(line?.[1] ?? 0);
}

/** `max` and whatever is no number is absent. */
async function number(folder: string, name: string): Promise<number | undefined> {
  const value = (await text(folder, name))?.trim() ?? "";
  return /^\d+$/.test(value) ? Number(value) : undefined;
}

async function text(folder: string, name: string): Promise<string | undefined> {
  return readFile(name ? join(folder, name) : folder, "latin1").catch(() => undefined);
}
