import { readdirSync, readFileSync } from "node:fs";
import type { Measurement } from "../relay/load.ts";
import { type Row, row, type Target } from "../relay/report.ts";
import type { Runs } from "../relay/rounds.ts";
import { spread } from "../relay/statistics.ts";

/** A row of the report; `foreign` are the shares of a core that others took meanwhile, where that matters. */
export function figure(target: Target, values: readonly number[], foreign: number[] = []): Row {
  const shares = foreign.map((share) => ({ wallNs: 1, foreignNs: share }) as Measurement);
  const runs: Runs = new Map([["", shares]]);
  return row(target, spread(values), runs);
}

/** The value below which this share of the sorted values lies. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

const TICKS_PER_SECOND = 100;

/** Busy time of the machine that belongs neither to this process nor to anything that it started. */
export class ForeignCpu {
  readonly #busy = busySeconds();
  readonly #own = ownSeconds();
  readonly #startedMs = performance.now();

  /** As a share of one core. */
  share(): number {
    const seconds = (performance.now() - this.#startedMs) / 1000;
    const foreign = busySeconds() - this.#busy - (ownSeconds() - this.#own);
    return Math.max(0, foreign / seconds);
  }
}

function busySeconds(): number {
  const [line = ""] = readFileSync("/proc/stat", "utf8").split("\n");
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = line
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
}

/** CPU of this process and its descendants, with those that ended. */
function ownSeconds(): number {
  const all = new Map<number, { parent: number; ticks: number }>();
  for (const name of readdirSync("/proc").filter((each) => /^\d+$/.test(each))) {
    const fields = statOf(name);
    if (fields) all.set(Number(name), fields);
  }
  const isOurs = (pid: number): boolean => {
    if (pid === process.pid) return true;
    const parent = all.get(pid)?.parent ?? 0;
    return parent > 1 && isOurs(parent);
  };
  const ours = [...all].filter(([pid]) => isOurs(pid));
  return ours.reduce((sum, [, { ticks }]) => sum + ticks, 0) / TICKS_PER_SECOND;
}

function statOf(pid: string): { parent: number; ticks: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text
      .slice(text.lastIndexOf(")") + 2)
      .split(" ")
      .map(Number);
    const [utime = 0, stime = 0, cutime = 0, cstime = 0] = fields.slice(11, 15);
    return { parent: fields[1] ?? 0, ticks: utime + stime + cutime + cstime };
  } catch {
    return undefined; // it ended meanwhile
  }
}
