import { parseArgs } from "node:util";
import { benchController } from "./controller/controller.ts";
import { benchCron } from "./cron/cron.ts";
import { benchNeighbour } from "./neighbour/neighbour.ts";
import { benchNodes } from "./nodes/nodes.ts";
import { benchRelay } from "./relay/relay.ts";
import { benchStore } from "./store/store.ts";
import { benchTelegram } from "./telegram/telegram.ts";
import { benchCold } from "./wake/cold.ts";
import { benchWake } from "./wake/wake.ts";

const USAGE = `npm run bench <name> [-- --quick] [-- --repetitions N] [-- --only G1,G9]

cold:  what gateway and controller add to a suspended session's first message, beside a running session's
controller: the bundled controller on a real kube-apiserver and etcd
cron:  what ten thousand schedules cost, beside croner's own objects and bare posts
neighbour: a session's Codex turns beside another session's fork bomb, on a real node
nodes: argus run against ssh, idle nodes' memory
relay: gateway and bridge against haproxy, a C relay and the frozen baselines, as ratios (docs/performance.md)
store: commits of the state store beside a loop of bare syncs, its crashes and its opening
telegram: what gateway and bot add to an answer, beside a bare grammY bot
wake:  what the bridge adds to the app-server's own start when a parked session gets its first line
--quick: one repetition, small levels: shows that everything works, its figures mean nothing`;

export interface BenchOptions {
  quick: boolean;
  repetitions: number;
  /** Goals to measure; empty = all. */
  only: string[];
}

const BENCHES: Record<string, (options: BenchOptions) => Promise<string>> = {
  cold: benchCold,
  controller: benchController,
  cron: benchCron,
  neighbour: benchNeighbour,
  nodes: benchNodes,
  relay: benchRelay,
  store: benchStore,
  telegram: benchTelegram,
  wake: benchWake,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: "boolean", default: false },
    repetitions: { type: "string" },
    only: { type: "string", default: "" },
  },
});

const bench = BENCHES[positionals[0] ?? ""];
if (!bench || positionals.length > 1) {
  console.error(USAGE);
  process.exit(2);
}
console.log(
  await bench({
    quick: values.quick,
    repetitions: Number(values.repetitions ?? (values.quick ? 1 : 5)),
    only: values.only.split(",").filter(Boolean),
  }),
);
