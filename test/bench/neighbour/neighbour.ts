import { useCluster, whyNoCluster } from "../../cluster/cluster.ts";
import { BOMB, type BombRound, bombRound, NEIGHBOUR, p99 } from "../../e2e/support/neighbour.ts";
import { SessionPods } from "../../e2e/support/session-pods.ts";
import { provideImages, whyNoImages } from "../../support/images.ts";
import { figure } from "../controller/figures.ts";
import { table } from "../relay/report.ts";

/** K11: what a session's turns cost beside another session's fork bomb, on a real node; returns the report. */
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
    const bomb = await pods.create("bomb", 200_104, BOMB);
    const neighbour = await pods.create("neighbour", 200_105, NEIGHBOUR);
    const rounds: BombRound[] = [];
    for (let round = 0; round < (quick ? 1 : repetitions); round += 1) {
      rounds.push(await bombRound(bomb, neighbour));
    }
    return table(rowsOf(rounds));
  } finally {
    await pods.stop();
  }
}

function rowsOf(rounds: BombRound[]) {
  const goal = "K11";
  const unit = " ms";
  const each = (of: (round: BombRound) => number) => rounds.map(of);
  const row = (what: string, of: (round: BombRound) => number) =>
    figure({ goal: "–", what, unit }, each(of));
  return [
    figure(
      { goal, what: "p99 of a neighbour's Codex turns beside a fork bomb to alone", atMost: 1.2 },
      each(({ quiet, loud }) => p99(loud.turns) / p99(quiet.turns)),
    ),
    row("those turns alone", ({ quiet }) => p99(quiet.turns)),
    row("those turns beside it", ({ loud }) => p99(loud.turns)),
    row("p99 of its bridge's probe port alone", ({ quiet }) => p99(quiet.answers)),
    row("the same beside it", ({ loud }) => p99(loud.answers)),
    row("p99 of the bomb's own bridge's probe port", ({ own }) => p99(own)),
    figure(
      { goal, what: "tasks of the bomb's pod, of 128", atMost: 128 },
      each(({ tasks }) => tasks),
    ),
  ];
}
