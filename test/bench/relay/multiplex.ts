import type { Candidate } from "./load.ts";
import { type Row, row } from "./report.ts";
import { type Bench, cpuPerLine, field, type Runs, rounds } from "./rounds.ts";
import { ratios, type Spread, spread } from "./statistics.ts";

const PEERS = [1, 4, 32];

/** CPU per line of the upstream: the load counts what arrives at all clients. */
function perUpstreamLine(runs: Runs, name: string, peers: number): number[] {
  return field(runs, name, (m) => (m.relayCpuNs * peers) / m.lines);
}

/** G11: one app-server to many peers. */
export async function fanOut(
  bench: Bench,
  { bridge, obvious }: { bridge: Candidate; obvious: Candidate },
): Promise<Row[]> {
  const times = bench.quick ? { warmMs: 200, runMs: 300 } : { warmMs: 400, runMs: 1200 };
  const cost = new Map<number, { bridge: number[]; obvious: number[] }>();
  const all: Runs = new Map([
    ["bridge", []],
    ["fanout", []],
  ]);
  for (const clients of PEERS) {
    bench.say(`fan-out to ${clients}`);
    const settings = { mode: "down", size: 200, fan: 1, clients, ...times };
    const runs = await rounds(bench, [bridge, obvious], settings);
    for (const [name, list] of runs) all.get(name)?.push(...list);
    cost.set(clients, {
      bridge: perUpstreamLine(runs, bridge.name, clients),
      obvious: perUpstreamLine(runs, obvious.name, clients),
    });
  }
  const at = (peers: number, who: "bridge" | "obvious") => cost.get(peers)?.[who] ?? [];
  const extra = (who: "bridge" | "obvious"): Spread => {
    const few = at(1, who);
    return spread(at(32, who).map((value, index) => (value - (few[index] ?? 0)) / 31));
  };
  const share = extra("bridge").median / extra("obvious").median;
  return [
    row(
      { goal: "G11", what: "bridge, CPU with 32 peers against 1", atMost: 8 },
      ratios(at(32, "bridge"), at(1, "bridge")),
      all,
    ),
    row(
      { goal: "–", what: "bridge, CPU with 4 peers against 1" },
      ratios(at(4, "bridge"), at(1, "bridge")),
      all,
    ),
    row(
      { goal: "G11", what: "an extra peer against stringify + send", atMost: 0.02 },
      { ...spread([share]), count: bench.repetitions },
      all,
    ),
  ];
}

/** G12: many peers on one app-server, ids rewritten, against a 1:1 relay on ws. */
export async function multiplexer(
  bench: Bench,
  { bridge, plain, naive }: { bridge: Candidate; plain: Candidate; naive: Candidate },
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { size, window, name } of [
    { size: 200, window: 16, name: "200 B" },
    { size: 4096, window: 16, name: "4 KiB" },
    { size: 65_536, window: 2, name: "64 KiB" },
  ]) {
    bench.say(`8 peers, ${window} requests of ${name} each`);
    const times = bench.quick ? { warmMs: 200, runMs: 300 } : { warmMs: 1000, runMs: 1200 };
    const settings = { mode: "echo", clients: 8, size, window, ...times };
    const runs = await rounds(bench, [plain, naive, bridge], settings);
    const cost = (who: Candidate) => field(runs, who.name, cpuPerLine);
    rows.push(
      row(
        { goal: "G12", what: `${name}, bridge against the 1:1 ws relay`, atMost: 1.4 },
        ratios(cost(bridge), cost(plain)),
        runs,
        spread(cost(plain)),
      ),
      row(
        { goal: "–", what: `${name}, bridge against the naive 1:1 relay` },
        ratios(cost(bridge), cost(naive)),
        runs,
        spread(cost(naive)),
      ),
    );
  }
  return rows;
}
