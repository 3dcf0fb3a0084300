import { type Candidate, type Measurement, runLoad, type Settings } from "./load.ts";

/** Foreign CPU above this share of one core makes a run void. */
export const MAX_FOREIGN = 0.2;
/** So many times the wanted repetitions at most. */
const MAX_ATTEMPTS = 3;

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
 * Runs every candidate `repetitions` times, A B then B A, so that a drift of the machine hits all alike. A repetition
 * beside foreign load is void and made again; when the machine does not calm down the quietest ones stay, and the
 * report says so.
 */
export async function rounds(
  bench: Bench,
  candidates: readonly Candidate[],
  settings: Settings,
): Promise<Runs> {
  const made: Repetition[] = [];
  const most = bench.quick ? bench.repetitions : bench.repetitions * MAX_ATTEMPTS;
  while (made.length < most && made.filter(isQuiet).length < bench.repetitions) {
    const order = made.length % 2 === 0 ? candidates : candidates.toReversed();
    const runs = new Map<string, Measurement>();
    for (const candidate of order) {
      runs.set(candidate.name, await runLoad(bench.load, candidate, settings));
    }
    made.push({ runs, foreign: Math.max(...[...runs.values()].map(foreignShare)) });
  }
  const quietest = made.toSorted((a, b) => a.foreign - b.foreign).slice(0, bench.repetitions);
  const kept = made.filter((repetition) => quietest.includes(repetition));
  return new Map(
    candidates.map(({ name }) => [name, kept.flatMap(({ runs }) => runs.get(name) ?? [])]),
  );
}

/** One run of each candidate. */
interface Repetition {
  runs: Map<string, Measurement>;
  /** Of the worst run. */
  foreign: number;
}

const isQuiet = ({ foreign }: Repetition): boolean => foreign <= MAX_FOREIGN;

/** The same field of all runs of a candidate. */
export function field(runs: Runs, name: string, of: (m: Measurement) => number): number[] {
  return (runs.get(name) ?? []).map(of);
}

export const cpuPerLine = (m: Measurement): number => m.relayCpuNs / m.lines;
