import type { Candidate } from "./load.ts";
import { type Row, row } from "./report.ts";
import { type Bench, cpuPerLine, field, rounds } from "./rounds.ts";
import { ratios, spread } from "./statistics.ts";

interface Case {
  mode: "down" | "up";
  size: number;
  name: string;
  /** Lines per relay-CPU-second relative to haproxy (G1) and to the naive relay (G2). */
  haproxy: number;
  naive: number;
}

const CASES: Case[] = [
  { mode: "down", size: 200, name: "200 B down", haproxy: 0.5, naive: 25 },
  { mode: "up", size: 200, name: "200 B up", haproxy: 0.38, naive: 8 },
  { mode: "down", size: 4096, name: "4 KiB down", haproxy: 0.75, naive: 4.5 },
  { mode: "up", size: 4096, name: "4 KiB up", haproxy: 0.75, naive: 4.5 },
  { mode: "down", size: 1 << 20, name: "1 MiB down", haproxy: 1, naive: 15 },
  { mode: "up", size: 1 << 20, name: "1 MiB up", haproxy: 1, naive: 4 },
];

/** G1, G2: eight sessions flat out, lines per second of the relay's CPU. */
export async function flatOut(
  bench: Bench,
  { gateway, others }: { gateway: Candidate; others: Candidate[] },
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { mode, size, name, haproxy, naive } of CASES) {
    bench.say(`flat out, ${name}`);
    const times = bench.quick ? { warmMs: 200, runMs: 300 } : { warmMs: 400, runMs: 1200 };
    const runs = await rounds(bench, [...others, gateway], { mode, size, clients: 8, ...times });
    const cost = (who: string) => field(runs, who, cpuPerLine);
    const own = cost(gateway.name);
    const base = spread(cost("haproxy"));
    const target = { goal: "G1", what: `${name}, gateway against haproxy`, atLeast: haproxy };
    rows.push(row(target, ratios(cost("haproxy"), own), runs, base));
    rows.push(
      row(
        { goal: "G2", what: `${name}, gateway against naive`, atLeast: naive },
        ratios(cost("naive"), own),
        runs,
        spread(cost("naive")),
      ),
    );
    rows.push(
      row(
        { goal: "–", what: `${name}, C relay against haproxy` },
        ratios(cost("haproxy"), cost("C relay")),
        runs,
        base,
      ),
    );
  }
  return rows;
}
