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
import { environment, type Row, table } from "../relay/report.ts";
import { bareSyncs, type Paced } from "./bare.ts";
import { ENTRY_BYTES, Producers } from "./commits.ts";
import { crashes, opening } from "./crashes.ts";

const RUN_MS = 1200;
const PRODUCERS = 64;
const HISTORY = 100_000;
const ECHO = join(import.meta.dirname, "echo-client.ts");

/** G13–G15: the file store beside a loop of bare syncs on the same disk, in alternation. */
export async function benchStore({ quick, repetitions, only }: BenchOptions): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "argus-store-"));
  const wants = (goal: string) => only.length === 0 || only.includes(goal);
  const store = await openFileStore(
    { folder: join(folder, "state") },
    new AbortController().signal,
  );
  const size = { runMs: quick ? 200 : RUN_MS, repetitions, history: quick ? 2000 : HISTORY };
  try {
    const rows = [
      ...(wants("G13") ? await commitRates(store, folder, size) : []),
      ...(wants("G13") ? await echoBeside(store, size) : []),
      ...(wants("G14") ? await historyCost(store, size) : []),
      ...(wants("G15") ? await survival(folder, quick) : []),
    ];
    return `${await environment()}\n\n${table(rows)}`;
  } finally {
    await store.close();
    await rm(folder, { recursive: true, force: true });
  }
}

interface Size {
  runMs: number;
  repetitions: number;
  history: number;
}

const p99 = ({ times }: Paced) => quantile(times, 0.99);

async function commitRates(store: Store, folder: string, size: Size): Promise<Row[]> {
  const kinds = [
    {
      what: `${PRODUCERS} producers in one session`,
      documents: 1,
      producers: PRODUCERS,
      atLeast: 15,
    },
    {
      what: `${PRODUCERS} producers over ${PRODUCERS} sessions`,
      documents: PRODUCERS,
      producers: PRODUCERS,
      atLeast: 15,
    },
    { what: "one producer", documents: 1, producers: 1, atLeast: 0.7 },
  ];
  const rows: Row[] = [];
  for (const { what, documents, producers, atLeast } of kinds) {
    const all = await Producers.open(store, documents, `rate-${documents}-${producers}`);
    const rates: number[] = [];
    const tails: number[] = [];
    const foreign: number[] = [];
    for (let round = 0; round < size.repetitions; round += 1) {
      const cpu = new ForeignCpu();
      const bare = bareSyncs(folder, size.runMs, ENTRY_BYTES);
      const ours = await all.run(producers, size.runMs);
      rates.push(ours.perSecond / bare.perSecond);
      tails.push(p99(ours) / quantile(bare.times, 0.5));
      foreign.push(cpu.share());
    }
    rows.push(figure({ goal: "G13", what: `commits/s, ${what}`, atLeast }, rates, foreign));
    if (producers > 1) {
      rows.push(
        figure({ goal: "G13", what: `p99 in bare syncs, ${what}`, atMost: 6 }, tails, foreign),
      );
    }
  }
  return rows;
}

/** A relay of lines in the process of the store: what a flood of commits does to those who only talk. */
async function echoBeside(store: Store, size: Size): Promise<Row[]> {
  const server = createServer((socket) => socket.setNoDelay(true).pipe(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const all = await Producers.open(store, PRODUCERS, "echo");
  const ratios: number[] = [];
  const foreign: number[] = [];
  for (let round = 0; round < size.repetitions; round += 1) {
    const cpu = new ForeignCpu();
    const alone = await echo(port, size.runMs);
    const [beside] = await Promise.all([echo(port, size.runMs), all.run(PRODUCERS, size.runMs)]);
    ratios.push(quantile(beside, 0.99) / quantile(alone, 0.99));
    foreign.push(cpu.share());
  }
  server.close();
  const what = "echo p99 beside a flood of commits, to that without";
  return [figure({ goal: "G13", what, atMost: 1.5 }, ratios, foreign)];
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
