import type { Candidate } from "./load.ts";
import { type Row, row } from "./report.ts";
import { type Bench, cpuPerLine, field, rounds } from "./rounds.ts";
import { ratios, spread } from "./statistics.ts";

const MIB = 1 << 20;

/** G4: many slow streams. */
export async function paced(
  bench: Bench,
  { gateway, haproxy }: { gateway: Candidate; haproxy: Candidate },
): Promise<Row[]> {
  const clients = bench.quick ? 50 : 600;
  bench.say(`${clients} sessions x 100 lines/s`);
  const times = bench.quick ? { warmMs: 300, runMs: 500 } : { warmMs: 2000, runMs: 2000 };
  const settings = { mode: "paced", size: 200, rate: 100, clients, concurrency: 16, ...times };
  const runs = await rounds(bench, [haproxy, gateway], settings);
  const of = (who: Candidate, what: "cpu" | "p99" | "lost") =>
    field(runs, who.name, (m) =>
      what === "cpu" ? cpuPerLine(m) : what === "p99" ? m.p99Ns : (m.lost ?? Number.NaN),
    );
  const what = `${clients} sessions x 100 lines/s`;
  return [
    row(
      { goal: "G4", what: `${what}: CPU per line`, atMost: 1.35 },
      ratios(of(gateway, "cpu"), of(haproxy, "cpu")),
      runs,
      spread(of(haproxy, "cpu")),
    ),
    row(
      { goal: "G4", what: `${what}: p99 of the delay`, atMost: 2 },
      ratios(of(gateway, "p99"), of(haproxy, "p99")),
      runs,
    ),
    row({ goal: "G4", what: `${what}: lines lost`, atMost: 0 }, spread(of(gateway, "lost")), runs),
  ];
}

/** G7: a ping-pong beside four floods. */
export async function noisyNeighbour(
  bench: Bench,
  { gateway, haproxy, floor }: { gateway: Candidate; haproxy: Candidate; floor: Candidate },
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { floodSize, name } of [
    { floodSize: MIB, name: "1 MiB" },
    { floodSize: 200, name: "200 B" },
  ]) {
    bench.say(`ping-pong beside floods of ${name} lines`);
    const times = bench.quick ? { warmMs: 300, runMs: 500 } : { warmMs: 1000, runMs: 2500 };
    const settings = { mode: "noisy", size: 200, clients: 5, pauseUs: 1000, floodSize, ...times };
    const runs = await rounds(bench, [floor, haproxy, gateway], settings);
    const p50 = (who: Candidate) => field(runs, who.name, (m) => m.p50Ns);
    const p99 = (who: Candidate) => field(runs, who.name, (m) => m.p99Ns);
    const bytes = (who: Candidate) => field(runs, who.name, (m) => (m.floodBytes ?? 0) / m.wallNs);
    const what = `ping beside ${name} floods`;
    rows.push(
      row(
        { goal: "G7", what: `${what}: p50 against the C relay`, atMost: 2 },
        ratios(p50(gateway), p50(floor)),
        runs,
      ),
      row(
        { goal: "G7", what: `${what}: p99 against the C relay`, atMost: 3 },
        ratios(p99(gateway), p99(floor)),
        runs,
      ),
      row(
        { goal: "G7", what: `${what}: floods against haproxy`, atLeast: 0.5 },
        ratios(bytes(gateway), bytes(haproxy)),
        runs,
      ),
      row(
        { goal: "–", what: `${what}: p50 of haproxy against the C relay` },
        ratios(p50(haproxy), p50(floor)),
        runs,
      ),
    );
  }
  return rows;
}
