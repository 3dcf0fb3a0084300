import { type Candidate, type Measurement, runLoad, type Settings } from "./load.ts";

/** Foreign CPU above this share of one core makes a run void. */
export const MAX_FOREIGN = 0.2;
/** A void run is tried again this often. */
const RETRIES = 2;

export interface Bench {
  load: string;
  repetitions: number;
  /** Short warm-up, small levels, nothing void: shows that everything works. */
  quick: boolean;
  say(text: string): void;
}

/** The runs of one candidate, in order of repetition. */
export type Runs = Map<string, Measurement[]>;

export const foreignShare = (m: Measurement): number => m.foreignNs / m.wallNs;

/**
 * Runs every candidate `repetitions` times, A B then B A, so that a drift of the machine hits all alike.
 * A run beside foreign load is repeated; when the machine does not calm down it stays, and the report says so.
 */
export async function rounds(
  bench: Bench,
  candidates: readonly Candidate[],
  settings: Settings,
): Promise<Runs> {
  const runs: Runs = new Map(candidates.map(({ name }) => [name, []]));
  for (let repetition = 0; repetition < bench.repetitions; repetition += 1) {
    const order = repetition % 2 === 0 ? candidates : candidates.toReversed();
    for (const candidate of order) {
      runs.get(candidate.name)?.push(await quietRun(bench, candidate, settings));
    }
  }
  return runs;
}

async function quietRun(
  bench: Bench,
  candidate: Candidate,
  settings: Settings,
): Promise<Measurement> {
  let best = await runLoad(bench.load, candidate, settings);
  for (let retry = 0; !bench.quick && retry < RETRIES; retry += 1) {
    if (foreignShare(best) <= MAX_FOREIGN) return best;
    const next = await runLoad(bench.load, candidate, settings);
    if (foreignShare(next) < foreignShare(best)) best = next;
  }
  return best;
}

/** The same field of all runs of a candidate. */
export function field(runs: Runs, name: string, of: (m: Measurement) => number): number[] {
  return (runs.get(name) ?? []).map(of);
}

export const cpuPerLine = (m: Measurement): number => m.relayCpuNs / m.lines;
