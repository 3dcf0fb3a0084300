import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { openFileStore } from "#gateway/store/file.ts";
import type { Store } from "#gateway/store/store.ts";
import type { BenchOptions } from "../bench.ts";
import { ForeignCpu, figure, quantile } from "../controller/figures.ts";
import { environment, type Row, type Target, table } from "../relay/report.ts";
import { bareSyncs } from "./bare.ts";
import { BareThread } from "./bare-thread.ts";
import { ENTRY_BYTES, Producers } from "./commits.ts";
import { crashes, opening } from "./crashes.ts";
import type { Paced } from "./paced.ts";

const RUN_MS = 1200;
const PRODUCERS = 64;
const HISTORY = 100_000;
const ECHO = join(import.meta.dirname, "echo-client.ts");

/** G13–G15: the file store beside a loop of bare syncs on the same disk, and beside a thread that does no more, in alternation. */
export async function benchStore({ quick, repetitions, only }: BenchOptions): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "argus-store-"));
  const wants = (goal: string) => only.length === 0 || only.includes(goal);
  const store = await openFileStore(
    { folder: join(folder, "state") },
    new AbortController().signal,
  );
  const least = new BareThread(folder, ENTRY_BYTES);
  const size = { runMs: quick ? 200 : RUN_MS, repetitions, history: quick ? 2000 : HISTORY };
  try {
    const rows = [
      ...(wants("G13") ? await commitRates(store, least, folder, size) : []),
      ...(wants("G13") ? await echoBeside(store, least, size) : []),
      ...(wants("G14") ? await historyCost(store, size) : []),
      ...(wants("G15") ? await survival(folder, quick) : []),
    ];
    return `${await environment()}\n\n${table(rows)}`;
  } finally {
    await least.close();
    await store.close();
    await rm(folder, { recursive: true, force: true });
  }
}

interface Size {
  runMs: number;
  repetitions: number;
  history: number;
}

/** Who commits. */
interface Load {
  run(producers: number, forMs: number): Promise<Paced>;
}

const KINDS = [
  { what: `${PRODUCERS} producers in one session`, documents: 1, producers: PRODUCERS, rate: 15 },
  {
    what: `${PRODUCERS} producers over ${PRODUCERS} sessions`,
    documents: PRODUCERS,
    producers: PRODUCERS,
    rate: 15,
  },
  { what: "one producer", documents: 1, producers: 1, rate: 0.7 },
];
const LEAST = "the same by a thread that only writes and syncs";

async function commitRates(store: Store, least: Load, folder: string, size: Size): Promise<Row[]> {
  const rows: Row[] = [];
  for (const kind of KINDS) {
    const { what, documents, producers } = kind;
    const all = await Producers.open(store, documents, `rate-${documents}-${producers}`);
    const [ours, bare] = [new Rates(), new Rates()];
    for (let round = 0; round < size.repetitions; round += 1) {
      const cpu = new ForeignCpu();
      const syncs = bareSyncs(folder, size.runMs, ENTRY_BYTES);
      ours.add(await all.run(producers, size.runMs), syncs, cpu.share());
      bare.add(await least.run(producers, size.runMs), syncs, cpu.share());
    }
    const goal = "G13";
    rows.push(ours.rate({ goal, what: `commits/s, ${what}`, atLeast: kind.rate }));
    rows.push(bare.rate({ goal, what: LEAST }));
    if (producers === 1) continue;
    rows.push(ours.tail({ goal, what: `p99 in bare syncs, ${what}`, atMost: 6 }));
    rows.push(bare.tail({ goal, what: LEAST }));
  }
  return rows;
}

/** Of the rounds of one load, in bare syncs. */
class Rates {
  readonly #rates: number[] = [];
  readonly #tails: number[] = [];
  readonly #foreign: number[] = [];

  add({ perSecond, times }: Paced, syncs: Paced, foreign: number): void {
    this.#rates.push(perSecond / syncs.perSecond);
    this.#tails.push(quantile(times, 0.99) / quantile(syncs.times, 0.5));
    this.#foreign.push(foreign);
  }

  rate(target: Target): Row {
    return figure(target, this.#rates, this.#foreign);
  }

  tail(target: Target): Row {
    return figure(target, this.#tails, this.#foreign);
  }
}

/** A relay of lines in the process of the store: what a flood of commits does to those who only talk. */
async function echoBeside(store: Store, least: Load, size: Size): Promise<Row[]> {
  const server = createServer((socket) => socket.setNoDelay(true).pipe(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const all = await Producers.open(store, PRODUCERS, "echo");
  const ratios: number[][] = [[], []];
  const foreign: number[] = [];
  for (let round = 0; round < size.repetitions; round += 1) {
    const cpu = new ForeignCpu();
    const alone = await echo(port, size.runMs);
    for (const [index, load] of [all, least].entries()) {
      const [beside] = await Promise.all([echo(port, size.runMs), load.run(PRODUCERS, size.runMs)]);
      ratios[index]?.push(quantile(beside, 0.99) / quantile(alone, 0.99));
    }
    foreign.push(cpu.share());
  }
  server.close();
  const [ours = [], bare = []] = ratios;
  const what = "echo p99 beside a flood of commits, to that without";
  return [
    figure({ goal: "G13", what, atMost: 1.5 }, ours, foreign),
    figure({ goal: "G13", what: LEAST }, bare, foreign),
  ];
}

async function echo(port: number, forMs: number): Promise<number[]> {
  const run = promisify(execFile);
  const { stdout } = await run(process.execPath, [ECHO, String(port), String(forMs)], {
    maxBuffer: 64 * 1024 * 1024,
  });
  return JSON.parse(stdout) as number[];
}

async function historyCost(store: Store, size: Size): Promise<Row[]> {
  const all = await Producers.open(store, PRODUCERS, "history");
  const rate = async () => {
    const runs: number[] = [];
    for (let round = 0; round < size.repetitions; round += 1) {
      runs.push((await all.run(PRODUCERS, size.runMs)).perSecond);
    }
    return quantile(runs, 0.5);
  };
  const cpu = new ForeignCpu();
  const before = await rate();
  await all.commit(size.history);
  const ratio = (await rate()) / before;
  const what = `commits/s after ${size.history.toLocaleString("en")} finished entries, to that before`;
  return [figure({ goal: "G14", what, atLeast: 0.9 }, [ratio], [cpu.share()])];
}

async function survival(folder: string, quick: boolean): Promise<Row[]> {
  const trials = quick ? 3 : 60;
  const { acknowledged, lost, doubled } = await crashes(folder, trials);
  const of = `of ${acknowledged.toLocaleString("en")} acknowledged, ${trials} × kill -9`;
  const ms = await opening(folder, quick ? 5 : 100);
  return [
    figure({ goal: "G15", what: `lost ${of}`, atMost: 0 }, [lost]),
    figure({ goal: "G15", what: `documents with a gap or a repeat, ${of}`, atMost: 0 }, [doubled]),
    figure(
      { goal: "G15", what: "100 MB of documents opened and read", atMost: 2000, unit: " ms" },
      [ms],
    ),
  ];
}
