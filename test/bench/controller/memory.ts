import { setTimeout as delay } from "node:timers/promises";
import { argusSessions } from "#cluster/resources.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { FakeKubelet } from "../../fakes/kubelet.ts";
import { eventually } from "../../support/eventually.ts";
import { runProgram } from "../../support/run-program.ts";
import type { Row } from "../relay/report.ts";
import { bundled } from "./bundled.ts";
import { ForeignCpu, figure } from "./figures.ts";
import { names, type Rig } from "./rig.ts";

const READY_MS = 20 * 60_000;
/** A bridge is asked each 30 s. */
const REST_MS = 35_000;
/** Time for garbage to go before memory is read. */
const SETTLE_MS = 10_000;

interface Level {
  sessions: number;
  /** What K6 allows. */
  atMostMiB: number;
  /** Nobody does anything for so long, after a restart of the controller. */
  quietMs: number;
}

/** K6: memory of a controller with so many sessions, and how soon it knows them; K2: what it writes when nothing happens. */
export async function idleSessions(
  rig: Rig,
  { quick, say, many }: { quick: boolean; say: (text: string) => void; many: boolean },
): Promise<Row[]> {
  const { sessions, atMostMiB, quietMs }: Level = many
    ? { sessions: quick ? 40 : 5000, atMostMiB: 200, quietMs: quick ? 1000 : 30_000 }
    : { sessions: quick ? 20 : 1000, atMostMiB: 120, quietMs: quick ? 5000 : 120_000 };
  const namespace = await rig.namespace("idle");
  const kubelet = await FakeKubelet.start({ kube: rig.kube, namespace, podIP: "127.66.2.1" });
  let controller = await rig.controller(namespace);
  const rows: Row[] = [];
  try {
    say(`K6: ${sessions} sessions`);
    await rig.createMany(namespace, names("idle", sessions));
    await allReady(rig, namespace, sessions);
    await atRest(rig, namespace);
    await controller.kill("SIGTERM");
    const mark = await rig.auditMark();
    const foreign = new ForeignCpu();
    controller = await rig.controller(namespace);
    const knownMs = Date.now() - controller.startedMs;
    await delay(SETTLE_MS);
    rows.push(
      figure(
        {
          goal: "K6",
          what: `controller's RSS, ${sessions} sessions`,
          atMost: atMostMiB,
          unit: " MiB",
        },
        [controller.rssKiB() / 1024],
      ),
      figure(
        {
          goal: "–",
          what: `controller's start until it works, ${sessions} sessions`,
          unit: " ms",
        },
        [knownMs],
        [foreign.share()],
      ),
    );
    say(`K2: ${quietMs / 1000} s of quiet`);
    await delay(quietMs);
    const writes = await rig.writes(namespace, mark);
    for (const { verb, requestURI } of writes.slice(0, 20)) say(`K2: ${verb} ${requestURI}`);
    const what = `writes of ${sessions} idle sessions, restart and ${quietMs / 1000} s of quiet`;
    rows.push(figure({ goal: "K2", what, atMost: 0 }, [writes.length]));
    rows.push(
      ...(await informers(rig, { namespace, sessions, goal: !quick && sessions === 5000 })),
    );
  } finally {
    await controller.kill("SIGTERM");
    await kubelet.stop();
  }
  return rows;
}

async function allReady(rig: Rig, namespace: string, count: number): Promise<void> {
  const isReady = ({ status }: ArgusSession) =>
    status?.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True");
  await eventually(
    `${count} sessions are Ready`,
    async () => {
      await delay(2000);
      const { items } = await rig.kube.list<ArgusSession>(argusSessions, { namespace });
      return items.filter(isReady).length === count;
    },
    READY_MS,
  );
}

/** Nothing is idle that still waits for a word of its bridge: no write for longer than one is read again. */
async function atRest(rig: Rig, namespace: string): Promise<void> {
  let mark = await rig.auditMark();
  await eventually(
    "nothing is written any more",
    async () => {
      await delay(REST_MS);
      const from = mark;
      mark = await rig.auditMark();
      return (await rig.writes(namespace, from)).length === 0;
    },
    READY_MS,
  );
}

interface Held {
  objects: number;
  syncMs: number;
  rssKiB: number;
}

/** The same sessions in our informer and in client-node's, each in a bundled process of its own. */
async function informers(
  rig: Rig,
  { namespace, sessions, goal }: { namespace: string; sessions: number; goal: boolean },
): Promise<Row[]> {
  const program = await bundled(rig, "watcher");
  const hold = async (client: string): Promise<Held> => {
    const words = [program, client, rig.peer.kubeconfig, namespace];
    const { code, stdout, stderr } = await runProgram(process.execPath, words);
    if (code !== 0) throw new Error(stderr.slice(-2000));
    const held = JSON.parse(stdout) as Held;
    if (held.objects !== sessions) throw new Error(`${client} holds ${held.objects} sessions`);
    return held;
  };
  const ours: Held[] = [];
  const stock: Held[] = [];
  for (let repetition = 0; repetition < 3; repetition += 1) {
    ours.push(await hold("ours"));
    stock.push(await hold("stock"));
  }
  const mib = (all: Held[]) => all.map(({ rssKiB }) => rssKiB / 1024);
  const ms = (all: Held[]) => all.map(({ syncMs }) => syncMs);
  return [
    figure(
      {
        goal: "K6",
        what: `list to synced, ${sessions} sessions, our informer`,
        unit: " ms",
        ...(goal ? { atMost: 3000 } : {}),
      },
      ms(ours),
    ),
    figure({ goal: "–", what: `the same, client-node's informer`, unit: " ms" }, ms(stock)),
    figure(
      { goal: "–", what: `RSS of our informer alone, ${sessions} sessions`, unit: " MiB" },
      mib(ours),
    ),
    figure({ goal: "–", what: `the same, client-node's informer`, unit: " MiB" }, mib(stock)),
  ];
}
