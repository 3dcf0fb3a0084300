import { TASKSET } from "./own-cpus.ts";

export interface LimitOptions {
  /** Processes and threads of the uid; 0 = no limit. */
  pids: number;
  /** Only where it is proved that the uid's processes are this session's alone (`Pressure.isolation`). */
  enforce: boolean;
  /** The CPUs that it may use, as `taskset -c` takes them; undefined = all. */
  cpus?: string | undefined;
}

/**
 * dash and busybox know the limit as `-p`, bash as `-u` (its `-p` is refused); both set soft and hard limit, so the
 * agent cannot raise it again. A limit that cannot be set ends the start: an agent without it is not started.
 * Its priority is the lowest of the container, which has a share of its own: hundreds of its processes that compute
 * would else leave the bridge so little that an answer takes seconds.
 */
const SCRIPT = `ulimit -p "$1" 2>/dev/null || ulimit -u "$1" || exit 126; shift
command -v nice >/dev/null 2>&1 && set -- nice -n 19 "$@"
exec "$@"`;

/**
 * The second level of RLIMIT_NPROC: the command, started so that it and all it starts share `pids` tasks. The container's
 * entry has set the first level a little higher, so the agent saturates first and the bridge can still start processes.
 */
export function limitCommand(command: string[], { pids, enforce, cpus }: LimitOptions): string[] {
  const placed = cpus ? [TASKSET, "-c", cpus, ...command] : command;
  if (!enforce || pids <= 0) return placed;
  return ["/bin/sh", "-c", SCRIPT, "argus-limit", String(pids), ...placed];
}
