import { join } from "node:path";
import { configMaps } from "#cluster/resources.ts";
import { runProgram } from "../../support/run-program.ts";
import type { Row } from "../relay/report.ts";
import { ratios } from "../relay/statistics.ts";
import { ForeignCpu, figure } from "./figures.ts";
import type { Rig } from "./rig.ts";

interface Cost {
  wallMs: number;
  cpuMs: number;
  connections: number;
}

const PROGRAM = join(import.meta.dirname, "caller.ts");
const CALL_LIMIT_MS = 120_000;

/** K7: what a GET costs by our client and by client-node, against the same API server, in turn. */
export async function callCosts(
  rig: Rig,
  options: {
    protocol: "HTTP/1.1" | "HTTP/2";
    quick: boolean;
    repetitions: number;
    say: (text: string) => void;
  },
): Promise<Row[]> {
  const { protocol, quick, repetitions, say } = options;
  const namespace = await rig.namespace("calls");
  const metadata = { name: "asked", namespace };
  const asked = { apiVersion: "v1", kind: "ConfigMap", metadata, data: { text: "x".repeat(2000) } };
  await rig.kube.create(configMaps, asked);
  const rows: Row[] = [];
  for (const atOnce of [1, 50]) {
    const calls = quick ? 100 : 1000;
    const costs: Record<string, Cost[]> = { ours: [], stock: [] };
    const foreign: number[] = [];
    for (let repetition = 0; repetition < repetitions; repetition += 1) {
      say(`K7: ${calls} GETs, ${atOnce} at once, ${protocol}`);
      const order = repetition % 2 === 0 ? ["ours", "stock"] : ["stock", "ours"];
      const watch = new ForeignCpu();
      for (const client of order) {
        costs[client]?.push(await cost(rig, { client, namespace, calls, atOnce }));
      }
      foreign.push(watch.share());
    }
    rows.push(...rowsOf({ protocol, atOnce, calls, costs, foreign }));
  }
  return rows;
}

async function cost(
  { peer }: Rig,
  asked: { client: string; namespace: string; calls: number; atOnce: number },
): Promise<Cost> {
  const { client, namespace, calls, atOnce } = asked;
  const port = new URL(peer.server).port;
  const words = [client, peer.kubeconfig, port, namespace, String(calls), String(atOnce)];
  const { code, stdout, stderr } = await runProgram(process.execPath, [PROGRAM, ...words], {
    timeoutMs: CALL_LIMIT_MS,
  });
  if (code !== 0) throw new Error(`${client}: ${stderr.slice(-2000)}`);
  return JSON.parse(stdout) as Cost;
}

function rowsOf(made: {
  protocol: string;
  atOnce: number;
  calls: number;
  costs: Record<string, Cost[]>;
  foreign: number[];
}): Row[] {
  const { protocol, atOnce, calls, foreign } = made;
  const { ours = [], stock = [] } = made.costs;
  const of = (all: Cost[], field: keyof Cost) => all.map((cost) => cost[field]);
  const how = `${calls} GETs, ${atOnce} at once, ${protocol}`;
  const rate = ratios(of(stock, "wallMs"), of(ours, "wallMs"));
  const cpu = ratios(of(ours, "cpuMs"), of(stock, "cpuMs"));
  const goal = "K7";
  return [
    {
      ...figure(
        { goal, what: `rate against client-node's, ${how}`, atLeast: 3.5 },
        [rate.median],
        foreign,
      ),
      reached: rate,
    },
    {
      ...figure(
        { goal, what: `CPU per call against client-node's, ${how}`, atMost: 0.3 },
        [cpu.median],
        foreign,
      ),
      reached: cpu,
    },
    figure({ goal, what: `connections, ${how}`, atMost: 4 }, of(ours, "connections")),
    figure({ goal: "–", what: `client-node's connections, ${how}` }, of(stock, "connections")),
  ];
}
