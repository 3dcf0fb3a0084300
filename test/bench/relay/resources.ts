import { type Candidate, runLoad } from "./load.ts";
import { emptyNodeMiB } from "./peers.ts";
import { type Row, row } from "./report.ts";
import { type Bench, type Runs, rounds } from "./rounds.ts";
import { spread } from "./statistics.ts";

const KIB_PER_MIB = 1024;
/** What memory a process has does not depend on who else runs. */
const ANYWHERE: Runs = new Map();
const MIB = 1 << 20;

/** G8: what an idle session costs. Each repetition needs a fresh gateway, since memory once taken stays. */
export async function idle(bench: Bench, start: () => Promise<Candidate>): Promise<Row[]> {
  const [low, high] = bench.quick ? [100, 500] : [1000, 5000];
  const runs: Runs = new Map([["gateway", []]]);
  const slopes: number[] = [];
  const empty: number[] = [];
  const bases: number[] = [];
  const shares: number[] = [];
  for (let repetition = 0; repetition < bench.repetitions; repetition += 1) {
    bench.say(`idle sessions: 0, 100, ${low}, ${high}`);
    empty.push(await emptyNodeMiB());
    const gateway = await start();
    try {
      const settings = { mode: "idle", levels: `0,100,${low},${high}`, concurrency: 16 };
      const times = bench.quick ? { warmMs: 500, runMs: 500 } : { warmMs: 1500, runMs: 3000 };
      const measured = await runLoad(bench.load, gateway, { ...settings, ...times });
      const [none, , few, many] = measured.levels ?? [];
      if (!none || !few || !many) throw new Error("the load measured too few levels");
      slopes.push((many.pssKiB - few.pssKiB) / (many.sessions - few.sessions));
      bases.push(none.rssKiB / KIB_PER_MIB);
      shares.push((100 * many.relayCpuNs) / many.wallNs);
      runs.get("gateway")?.push(none, few, many);
    } finally {
      await gateway.stop();
    }
  }
  return [
    row(
      { goal: "G8", what: `Pss per session, ${low} → ${high}`, atMost: 8, unit: " KiB" },
      spread(slopes),
      ANYWHERE,
    ),
    row(
      { goal: "G8", what: "RSS without sessions", atMost: 60, unit: " MiB" },
      spread(bases),
      ANYWHERE,
    ),
    row(
      { goal: "–", what: "RSS of Node with HTTP, TLS and SQLite in a thread, empty", unit: " MiB" },
      spread(empty),
      ANYWHERE,
    ),
    row(
      { goal: "G8", what: `CPU with ${high} idle sessions`, atMost: 1, unit: " % of a core" },
      spread(shares),
      runs,
    ),
  ];
}

/** G9, gateway: a client that never reads, its upstream flat out. */
export async function slowClient(bench: Bench, gateway: Candidate): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { floodSize, name } of [
    { floodSize: 200, name: "200 B" },
    { floodSize: MIB, name: "1 MiB" },
  ]) {
    bench.say(`slow client, ${name} lines`);
    const times = { warmMs: 500, runMs: bench.quick ? 500 : 2500 };
    const settings = { mode: "slow", size: 200, pauseUs: 1000, floodSize, ...times };
    const runs = await rounds(bench, [gateway], settings);
    const all = runs.get(gateway.name) ?? [];
    const grown = all.map((m) => ((m.rssAfterKiB ?? 0) - (m.rssBeforeKiB ?? 0)) / KIB_PER_MIB);
    const what = `slow client, ${name} lines`;
    rows.push(
      row(
        { goal: "G9", what: `${what}: RSS growth`, atMost: 16, unit: " MiB" },
        spread(grown),
        ANYWHERE,
      ),
      row(
        {
          goal: "G9",
          what: `${what}: read from its bridge in the last second`,
          atMost: 0,
          unit: " B",
        },
        spread(all.map((m) => m.lastSecondBytes ?? Number.NaN)),
        runs,
      ),
      row(
        { goal: "G9", what: `${what}: another session's p99 against without`, atMost: 1.5 },
        spread(all.map((m) => m.p99Ns / (m.aloneP99Ns ?? Number.NaN))),
        runs,
      ),
    );
  }
  return rows;
}

/** G9, bridge: a peer that stops reading while notifications flow. */
export async function slowPeer(bench: Bench, bridge: Candidate): Promise<Row[]> {
  bench.say("slow peer of the bridge");
  // 4 KiB x 3,000/s: far below what the bridge can do, and enough to reach any bound within the five seconds.
  const times = { warmMs: 500, runMs: bench.quick ? 500 : 2500 };
  const settings = { mode: "deaf", size: 4096, rate: 3000, clients: 4, ...times };
  const runs = await rounds(bench, [bridge], settings);
  const all = runs.get(bridge.name) ?? [];
  return [
    row(
      { goal: "G9", what: "slow peer: cut off at its bound (1 = yes)", atLeast: 1 },
      spread(all.map((m) => m.cutOff ?? 0)),
      runs,
    ),
    row(
      {
        goal: "G9",
        what: "slow peer: bytes that the app-server had to hold back",
        atMost: MIB,
        unit: " B",
      },
      spread(all.map((m) => m.writerWaitingBytes ?? Number.NaN)),
      runs,
    ),
    row(
      { goal: "G9", what: "slow peer: the others' p99 against without", atMost: 1.5 },
      spread(all.map((m) => m.p99Ns / (m.aloneP99Ns ?? Number.NaN))),
      runs,
    ),
    row(
      { goal: "G9", what: "slow peer: lines that the others lost", atMost: 0 },
      spread(all.map((m) => m.lost ?? Number.NaN)),
      runs,
    ),
    row(
      { goal: "–", what: "slow peer: RSS growth of the bridge", unit: " MiB" },
      spread(all.map((m) => ((m.rssAfterKiB ?? 0) - (m.rssBeforeKiB ?? 0)) / KIB_PER_MIB)),
      runs,
    ),
  ];
}
