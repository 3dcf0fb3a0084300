import { statfs } from "node:fs/promises";
import { type Isolation, isolationFacts, ownsContainer, proveIsolation } from "./isolation.ts";
import { Cgroup, type Gauge } from "./pressure/cgroup.ts";
import { type Usage, usageOfSession, usageOfUid } from "./pressure/tasks.ts";

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

export interface PressureSample {
  pids?: Gauge;
  memory?: Gauge;
  disk?: Gauge;
  /** Starts of processes that the cgroup refused so far. */
  pidLimitHits: number;
}

export interface Pressure {
  isolation: Isolation;
  /** This process has a container for itself (also where `isolation` is Degraded): the container is the sandbox. */
  container: boolean;
  /** Looks now; what cannot be told is absent. Never throws. */
  sample(): Promise<PressureSample>;
}

/** Watches what the session uses. Create it at the process's start: it reads facts that change when the parent dies. */
export function createPressure(options: PressureOptions): Pressure {
  const facts = isolationFacts();
  const isolation = proveIsolation(facts);
  const cgroup = new Cgroup();
  return {
    isolation,
    container: ownsContainer(facts),
    sample: async () => {
      const usage = await usageOf(options, isolation);
      const found = {
        pids: tightest(await cgroup.pids(), usage && limited(usage.tasks, options.pids)),
        memory:
          (await cgroup.memory()) ?? (usage && limited(usage.residentBytes, options.memoryBytes)),
        disk: await diskGauge(options.home),
      };
      const known = Object.entries(found).filter(([, gauge]) => gauge !== undefined);
      return { ...Object.fromEntries(known), pidLimitHits: await cgroup.pidLimitHits() };
    },
  };
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
