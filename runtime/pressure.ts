import { statfs } from "node:fs/promises";
import { type Isolation, isolationFacts, ownsContainer, proveIsolation } from "./isolation.ts";
import { Cgroup, type Gauge } from "./pressure/cgroup.ts";
import { type Usage, usageOfSession, usageOfUid } from "./pressure/tasks.ts";
import type { TaskCount } from "./saturation.ts";

export type { Gauge } from "./pressure/cgroup.ts";

export interface PressureOptions {
  /** On the volume whose space is watched. */
  home: string;
  /** Limit of processes and threads; 0 = none. */
  pids: number;
  /** Limit in bytes; 0 = not known. */
  memoryBytes: number;
  podUid: string;
}

export interface PressureSample extends TaskCount {
  memory?: Gauge;
  disk?: Gauge;
}

export interface Pressure {
  isolation: Isolation;
  /** This process has a container for itself (also where `isolation` is Degraded): the container is the sandbox. */
  container: boolean;
  /** Looks now; what cannot be told is absent. Never throws. */
  sample(): Promise<PressureSample>;
  /** The tasks alone, where a few reads tell them; undefined where only a walk through /proc does. Never throws. */
  tasks(): Promise<TaskCount | undefined>;
  /** Processes that the kernel ended for want of memory so far; 0 where it is not told. Never throws. */
  oomKills?(): Promise<number>;
}

/** Watches what the session uses. Create it at the process's start: it reads facts that change when the parent dies. */
export function createPressure(options: PressureOptions): Pressure {
  const facts = isolationFacts();
  const isolation = proveIsolation(facts);
  const container = ownsContainer(facts);
  const cgroup = new Cgroup();
  const own = container ? Promise.resolve(true) : cgroup.isFor(options.podUid);
  const tasks = async () => {
    const counted = (await own) ? await groupTasks(cgroup, options.pids) : undefined;
    // A process namespace of our own holds few processes: walking through them costs little.
    return counted ?? (isolation === "Degraded" ? undefined : uidTasks(options.pids));
  };
  return {
    isolation,
    container,
    tasks,
    oomKills: async () => ((await own) ? cgroup.oomKills() : 0),
    sample: async () => {
      const counted = await tasks();
      const memory = await cgroup.memory();
      const usage = counted && memory ? undefined : await usageOf(options, isolation);
      // What a group that others share holds or refused says nothing about this session.
      const walked = named("pids", usage && limited(usage.tasks, options.pids));
      return {
        ...(counted ?? { ...walked, pidLimitHits: 0 }),
        ...named("memory", memory ?? (usage && limited(usage.residentBytes, options.memoryBytes))),
        ...named("disk", await diskGauge(options.home)),
      };
    },
  };
}

/** A group that is the session's alone counts what the process limit counts too; the lower of both limits is in force. */
async function groupTasks(cgroup: Cgroup, pids: number): Promise<TaskCount | undefined> {
  const used = await cgroup.tasks();
  if (used === undefined) return undefined;
  const pidLimitHits = await cgroup.pidLimitHits();
  return { ...named("pids", tightest(await cgroup.pids(), limited(used, pids))), pidLimitHits };
}

async function uidTasks(pids: number): Promise<TaskCount | undefined> {
  const usage = await usageOfUid();
  return usage && { ...named("pids", limited(usage.tasks, pids)), pidLimitHits: 0 };
}

function named<K extends string>(name: K, gauge: Gauge | undefined): { [key in K]?: Gauge } {
  return gauge ? ({ [name]: gauge } as { [key in K]?: Gauge }) : {};
}

/** RLIMIT_NPROC counts by uid; where it is not in force, the uid's other processes are none of ours. */
function usageOf({ podUid }: PressureOptions, isolation: Isolation): Promise<Usage | undefined> {
  return isolation === "Degraded" ? usageOfSession({ podUid }) : usageOfUid();
}

const limited = (used: number, limit: number): Gauge | undefined =>
  limit > 0 ? { used, limit } : undefined;

/** Two limits are in force at once; the one that is nearer counts. */
function tightest(a: Gauge | undefined, b: Gauge | undefined): Gauge | undefined {
  if (!a || !b) return a ?? b;
  return a.used / a.limit >= b.used / b.limit ? a : b;
}

/** As df counts: blocks that only root may use are neither used nor free. */
async function diskGauge(folder: string): Promise<Gauge | undefined> {
  const stat = await statfs(folder).catch(() => undefined);
  if (!stat || stat.blocks === 0) return undefined;
  const used = (stat.blocks - stat.bfree) * stat.bsize;
  return { used, limit: used + stat.bavail * stat.bsize };
}
