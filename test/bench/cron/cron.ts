import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { EventEndpoint } from "../../fakes/event-endpoint.ts";
import type { BenchOptions } from "../bench.ts";
import { environment, type Row, row, type Target, table } from "../relay/report.ts";
import { ratios, type Spread, spread } from "../relay/statistics.ts";
import type { Measured } from "./measure.ts";

const run = promisify(execFile);
const SCHEDULES = 10_000;
const QUICK_SCHEDULES = 500;

/**
 * G16: what ten thousand schedules in named zones cost, each figure in a process of its own and beside its baseline: croner's
 * own objects for loading and memory, bare posts of the same events for a second in which all are due.
 */
export async function benchCron({ quick, repetitions }: BenchOptions): Promise<string> {
  const count = quick ? QUICK_SCHEDULES : SCHEDULES;
  const endpoint = await EventEndpoint.start();
  const seen: Record<string, Measured[]> = {};
  try {
    for (let repetition = 0; repetition < repetitions; repetition += 1) {
      for (const what of ["load", "load-croner", "heap", "heap-croner", "idle", "due"]) {
        (seen[what] ??= []).push(await measure(what, count, quick));
      }
      for (const what of ["post", "post-bare"]) {
        (seen[what] ??= []).push(await measure(what, count, quick, endpoint.url));
        endpoint.ledger.fates.clear();
        endpoint.requests.length = 0;
      }
    }
  } finally {
    await endpoint.stop();
  }
  return `${await environment()} · ${count} schedules\n\n${table(rowsOf(seen))}`;
}

async function measure(what: string, count: number, quick: boolean, url = ""): Promise<Measured> {
  const file = join(import.meta.dirname, "measure.ts");
  const words = ["--expose-gc", file, what, String(count), quick ? "quick" : "full", url];
  const { stdout } = await run(process.execPath, words);
  return JSON.parse(stdout) as Measured;
}

function rowsOf(seen: Record<string, Measured[]>): Row[] {
  const values = (what: string, name: keyof Measured) =>
    (seen[what] ?? []).map((measured) => measured[name] ?? Number.NaN);
  const line = (target: Target, reached: Spread) => row(target, reached, new Map());
  const against = (what: string, name: keyof Measured, baseline: string) =>
    ratios(values(what, name), values(baseline, name));
  const figure = (what: string, name: keyof Measured) => spread(values(what, name));
  return [
    line(
      { goal: "G16", what: "loading, against bare croner", atMost: 2 },
      against("load", "ms", "load-croner"),
    ),
    line(
      { goal: "G16", what: "heap per schedule", atMost: 1, unit: " KiB" },
      figure("heap", "kib"),
    ),
    line(
      { goal: "–", what: "heap per schedule, croner's objects kept", unit: " KiB" },
      figure("heap-croner", "kib"),
    ),
    line(
      { goal: "G16", what: "idle CPU", atMost: 0.1, unit: " % of a core" },
      figure("idle", "percent"),
    ),
    line(
      { goal: "G16", what: "all due in one second: taken up, p99 late", atMost: 1000, unit: " ms" },
      figure("due", "p99Ms"),
    ),
    line({ goal: "–", what: "the same, p50 late", unit: " ms" }, figure("due", "p50Ms")),
    line(
      {
        goal: "–",
        what: "CPU of a slot that is due, posted and acknowledged, against its bare post",
      },
      against("post", "cpuUs", "post-bare"),
    ),
    line(
      { goal: "–", what: "posted and acknowledged, p99 late", unit: " ms" },
      figure("post", "p99Ms"),
    ),
    line({ goal: "–", what: "bare posts, p99 late", unit: " ms" }, figure("post-bare", "p99Ms")),
  ];
}
