import { useCluster, whyNoCluster } from "../../cluster/cluster.ts";
import { allP99, bombRound, medianP99, PAIR } from "../../e2e/support/neighbour.ts";
import { SessionPods } from "../../e2e/support/session-pods.ts";
import { provideImages, whyNoImages } from "../../support/images.ts";
import { ForeignCpu, figure } from "../controller/figures.ts";
import { table } from "../relay/report.ts";

/** K11: what a session's answers cost beside another session's fork bomb, on a real node; returns the report. */
export async function benchNeighbour({
  quick,
  repetitions,
}: {
  quick: boolean;
  repetitions: number;
}): Promise<string> {
  const reason = whyNoCluster() ?? (await whyNoImages());
  if (reason) throw new Error(`bench neighbour needs a real node: ${reason}`);
  const cluster = await useCluster();
  const images = await provideImages(cluster);
  const pods = await SessionPods.start(cluster, images["argus-runtime"]);
  try {
    const bomb = await pods.create("bomb", 200_104, PAIR);
    const neighbour = await pods.create("neighbour", 200_105, PAIR);
    const rounds = [];
    for (let round = 0; round < (quick ? 1 : repetitions); round += 1) {
      const watch = new ForeignCpu();
      const made = await bombRound(bomb, neighbour);
      const [before, beside] = [medianP99(made.quiet), medianP99(made.loud)];
      console.error(`· K11: ${before.toFixed(1)} ms alone, ${beside.toFixed(1)} ms beside`);
      rounds.push({ ...made, before, beside, foreign: watch.share() });
    }
    return table(rowsOf(rounds));
  } finally {
    await pods.stop();
  }
}

function rowsOf(
  rounds: {
    quiet: number[][];
    loud: number[][];
    before: number;
    beside: number;
    tasks: number;
  }[],
) {
  const goal = "K11";
  const unit = " ms";
  const ratios = rounds.map(({ before, beside }) => beside / before);
  const answers = rounds.map(({ quiet, loud }) => allP99(loud) / allP99(quiet));
  return [
    figure(
      { goal, what: "neighbour's p99 beside a fork bomb to alone, median of windows", atMost: 1.2 },
      ratios,
    ),
    figure({ goal: "–", what: "the same of all answers together" }, answers),
    figure(
      { goal: "–", what: "neighbour's p99 alone", unit },
      rounds.map(({ before }) => before),
    ),
    figure(
      { goal: "–", what: "neighbour's p99 beside", unit },
      rounds.map(({ beside }) => beside),
    ),
    figure(
      { goal, what: "tasks of the bomb's pod, of 128", atMost: 128 },
      rounds.map(({ tasks }) => tasks),
    ),
  ];
}
