import { chmod, mkdir, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { isErrno } from "#lib/errors.ts";
import { type ProcessRecord, recordProcess } from "#lib/process-record.ts";
import type { Resources } from "./pod.ts";
import { parseQuantity } from "./quantity.ts";

const ROOT = "/sys/fs/cgroup";
const CONTROLLERS = ["memory", "pids", "cpu"] as const;
/** As a kubelet's `podPidsLimit`; `resources.limits.pids` lowers or raises it. */
const DEFAULT_PIDS = 4096;
const CPU_PERIOD_US = 100_000;

/** Where the groups of this installation are: one folder with all controllers (v2) or one for each (v1). */
export interface Cgroups {
  version: 1 | 2;
  folders: string[];
}

/** Groups for this installation, or undefined when none can be made here (not root, read-only, not Linux). */
export async function openCgroups(id: string): Promise<Cgroups | undefined> {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return undefined;
  try {
    return (await exists(join(ROOT, "cgroup.controllers"))) ? await openV2(id) : await openV1(id);
  } catch {
    return undefined;
  }
}

async function openV2(id: string): Promise<Cgroups> {
  const folder = join(ROOT, `argus-${id}`);
  const enable = CONTROLLERS.map((name) => `+${name}`).join(" ");
  await writeFile(join(ROOT, "cgroup.subtree_control"), enable);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "cgroup.subtree_control"), enable);
  return { version: 2, folders: [folder] };
}

/** Beneath our own groups, so that limits set on us stay in force. */
async function openV1(id: string): Promise<Cgroups> {
  const own = await readFile("/proc/self/cgroup", "utf8");
  const folders: string[] = [];
  for (const name of CONTROLLERS) {
    const line = own.split("\n").find((each) => each.split(":")[1]?.split(",").includes(name));
    const inside = join(ROOT, name, line?.split(":")[2] ?? "/");
    const parent = (await exists(inside)) ? inside : join(ROOT, name);
    await mkdir(join(parent, `argus-${id}`), { recursive: true });
    folders.push(join(parent, `argus-${id}`));
  }
  return { version: 1, folders };
}

/** The files that put a container's limits into force: path in the group → content. */
export function limitFiles(version: 1 | 2, { limits = {} }: Resources): Record<string, string> {
  const memory = parseQuantity(limits.memory);
  const cpu = parseQuantity(limits.cpu);
  const pids = String(parseQuantity(limits.pids) ?? DEFAULT_PIDS);
  const quota = cpu === undefined ? undefined : String(Math.ceil(cpu * CPU_PERIOD_US));
  if (version === 2) {
    return {
      "pids.max": pids,
      ...(memory !== undefined && {
        "memory.max": String(Math.floor(memory)),
        "memory.oom.group": "1",
      }),
      ...(quota && { "cpu.max": `${quota} ${CPU_PERIOD_US}` }),
    };
  }
  return {
    "pids.max": pids,
    ...(memory !== undefined && { "memory.limit_in_bytes": String(Math.floor(memory)) }),
    ...(quota && { "cpu.cfs_period_us": String(CPU_PERIOD_US), "cpu.cfs_quota_us": quota }),
  };
}

/** The group of one run of a container. */
export class Cgroup {
  readonly #folders: string[];
  readonly #version: 1 | 2;

  private constructor(folders: string[], version: 1 | 2) {
    this.#folders = folders;
    this.#version = version;
  }

  static async create(cgroups: Cgroups, name: string, resources: Resources): Promise<Cgroup> {
    const folders = cgroups.folders.map((folder) => join(folder, name));
    for (const folder of folders) {
      await mkdir(folder, { recursive: true });
      await chmod(folder, 0o755);
      for (const [file, content] of Object.entries(limitFiles(cgroups.version, resources))) {
        if (await exists(join(folder, file))) await writeFile(join(folder, file), content);
      }
    }
    return new Cgroup(folders, cgroups.version);
  }

  /** Moves a process, and all it will start, into the group. */
  async add(pid: number): Promise<void> {
    for (const folder of this.#folders) await writeFile(join(folder, "cgroup.procs"), String(pid));
  }

  /** All living members. */
  async members(): Promise<ProcessRecord[]> {
    const text = await readFile(join(this.#folders[0] ?? "", "cgroup.procs"), "utf8").catch(
      () => "",
    );
    const pids = text.split("\n").filter(Boolean).map(Number);
    const records = await Promise.all(pids.map((pid) => recordProcess(pid).catch(() => undefined)));
    return records.filter((record) => record !== undefined);
  }

  /** How many processes the kernel killed here for memory. */
  async oomKills(): Promise<number> {
    const file = this.#version === 2 ? "memory.events" : "memory.oom_control";
    const text = await readFile(join(this.#folders[0] ?? "", file), "utf8").catch(() => "");
    return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0);
  }

  /** Removes the group; its members have ended before. */
  async remove(): Promise<void> {
    await removeFolders(this.#folders);
  }
}

/** Members and removal of whatever an earlier start left. */
export async function leftoverMembers({ folders }: Cgroups): Promise<ProcessRecord[]> {
  const groups = (await readdir(folders[0] ?? "", { withFileTypes: true }))
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(folders[0] ?? "", name));
  const texts = await Promise.all(
    groups.map((group) => readFile(join(group, "cgroup.procs"), "utf8")),
  );
  const pids = texts.join("").split("\n").filter(Boolean).map(Number);
  const records = await Promise.all(pids.map((pid) => recordProcess(pid).catch(() => undefined)));
  return records.filter((record) => record !== undefined);
}

/** Removes all groups of this installation, and its own folders with `all`. */
export async function removeCgroups({ folders }: Cgroups, all: boolean): Promise<void> {
  for (const folder of folders) {
    const entries = await readdir(folder, { withFileTypes: true });
    await removeFolders(
      entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(folder, name)),
    );
  }
  if (all) await removeFolders(folders);
}

/** The kernel lets go of a dead member a moment after it died. */
async function removeFolders(folders: readonly string[]): Promise<void> {
  for (const folder of folders) {
    for (let tries = 0; tries < 40; tries += 1) {
      try {
        await rmdir(folder);
        break;
      } catch (error) {
        if (isErrno(error, "ENOENT")) break;
        if (!isErrno(error, "EBUSY")) throw error;
        await delay(25);
      }
    }
  }
}

async function exists(path: string): Promise<boolean> {
  return readFile(path).then(
    () => true,
    (error: unknown) => !isErrno(error, "ENOENT"),
  );
}
