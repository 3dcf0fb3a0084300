import { setTimeout as delay } from "node:timers/promises";
import { startInformer } from "#cluster/informer.ts";
import { pods } from "#cluster/resources.ts";
import { silentLogger } from "#lib/logger.ts";
import { connectionsOf } from "../../support/connections.ts";
import { ControllerProcess } from "../../support/controller-process.ts";
import { eventually } from "../../support/eventually.ts";
import { RandomFaults } from "../../support/fault-proxy/faults.ts";
import type { Row } from "../relay/report.ts";
import { bundled } from "./bundled.ts";
import { ForeignCpu, figure, quantile } from "./figures.ts";
import { names, type Rig } from "./rig.ts";

/** When sessions are made, whatever became of those before: 0 = all at once. */
interface Arrivals {
  name: string;
  count: number;
  perSecond: number;
}

/** One run: from the API server's receipt of a session to its receipt of that session's pod, by its audit log. */
interface Run {
  delaysMs: number[];
  foreign: number;
  /** The controller's connections to the API server, most at once. */
  connections: number;
}

const WARM_UP = 30;
const CONVERGE_MS = 120_000;

/** K4: how long until the controller asks for the pod; and K7's connections, since this is the greatest load. */
export async function startLatency(
  rig: Rig,
  { quick, repetitions, say }: { quick: boolean; repetitions: number; say: (text: string) => void },
): Promise<Row[]> {
  const part = quick ? 0.1 : 1;
  const slow = { name: "10/s", count: 100 * part, perSecond: 10 };
  const fast = { name: "75/s for 10 s", count: 750 * part, perSecond: 75 };
  const burst = { name: "burst of 300", count: 300 * part, perSecond: 0 };
  const bare = await bundled(rig, "bare");
  const runs = new Map<string, Run[]>();
  const floor = new Map<string, Run[]>();
  for (let repetition = 0; repetition < repetitions; repetition += 1) {
    for (const arrivals of [slow, fast, burst]) {
      const more = { arrivals, seed: 100 + repetition };
      say(`K4: ${arrivals.name}, ${repetition + 1} of ${repetitions}`);
      push(runs, arrivals.name, await measure(rig, { ...more, start: (ns) => rig.controller(ns) }));
      say(`K4: the same, bare client`);
      const start = (ns: string) => bareClient(rig, bare, ns);
      push(floor, arrivals.name, await measure(rig, { ...more, start }));
    }
  }
  return [
    ...latencyRows(slow, runs, { p50: 10, p99: 50 }),
    ...latencyRows(slow, floor),
    ...latencyRows(fast, runs, { p99: 300 }),
    ...latencyRows(fast, floor),
    ...latencyRows(burst, runs, { p90: 1000, max: 3000 }),
    ...latencyRows(burst, floor),
    figure(
      {
        goal: "K7",
        what: "connections of the controller to the API server, burst of 300",
        atMost: 4,
      },
      (runs.get(burst.name) ?? []).map(({ connections }) => connections),
    ),
  ];
}

function push<T>(lists: Map<string, T[]>, key: string, value: T): void {
  lists.set(key, [...(lists.get(key) ?? []), value]);
}

/** Only creates volumes and pods, see bare.ts: what the machine allows. */
async function bareClient(rig: Rig, program: string, namespace: string) {
  const { bundle, peer } = rig;
  const command = [program, peer.kubeconfig, namespace];
  const { kubeconfig } = peer;
  const made = { bundle, kubeconfig, namespace, identity: "bare", command };
  const client = new ControllerProcess(made);
  await client.logged("works");
  return client;
}

/** Without goals: the rows of the bare client. */
function latencyRows(
  { name, count }: Arrivals,
  all: Map<string, Run[]>,
  goals?: Record<string, number>,
): Row[] {
  const runs = all.get(name) ?? [];
  const shares = { p50: 0.5, p90: 0.9, p99: 0.99, max: 1 };
  return Object.entries(shares).map(([label, share]) => {
    const atMost = goals?.[label];
    const whose = goals ? "" : ", bare client";
    const what = `session to pod create call, ${name} (${count})${whose}: ${label}`;
    return figure(
      { goal: goals ? "K4" : "–", what, unit: " ms", ...(atMost === undefined ? {} : { atMost }) },
      runs.map(({ delaysMs }) => quantile(delaysMs, share)),
      runs.map(({ foreign }) => foreign),
    );
  });
}

async function measure(
  rig: Rig,
  {
    arrivals,
    seed,
    start,
  }: { arrivals: Arrivals; seed: number; start: (namespace: string) => Promise<ControllerProcess> },
): Promise<Run> {
  const namespace = await rig.namespace("arrivals");
  const controller = await start(namespace);
  const stop = new AbortController();
  const options = { namespace, logger: silentLogger() };
  const seen = startInformer(rig.kube, pods, options, stop.signal);
  const port = Number(new URL(rig.peer.server).port);
  let connections = 0;
  const sampling = setInterval(() => {
    connections = Math.max(connections, connectionsOf(controller.pid, port));
  }, 50);
  try {
    await rig.createMany(namespace, names("warm", WARM_UP));
    await eventually("warm", () => seen.list().length === WARM_UP, CONVERGE_MS);
    const mark = await rig.auditMark();
    const foreign = new ForeignCpu();
    await arrive(rig, { namespace, arrivals, seed });
    const wanted = WARM_UP + arrivals.count;
    await eventually("all pods", () => seen.list().length === wanted, CONVERGE_MS);
    const share = foreign.share();
    // A pod is seen before the answer to its maker is complete, which is when the log has it.
    const delaysMs = await eventually("all creates are in the audit log", async () => {
      const found = await delays(rig, { namespace, mark });
      return found.length === arrivals.count && !found.some(Number.isNaN) && found;
    });
    return { delaysMs, foreign: share, connections };
  } finally {
    clearInterval(sampling);
    stop.abort(new Error("measured"));
    await seen.closed;
    await controller.kill("SIGTERM");
  }
}

async function arrive(
  rig: Rig,
  { namespace, arrivals, seed }: { namespace: string; arrivals: Arrivals; seed: number },
): Promise<void> {
  const random = new RandomFaults(seed);
  let atMs = 0;
  const made = names("s", arrivals.count).map(async (name) => {
    // Poisson: the gaps are exponential.
    const gap = arrivals.perSecond === 0 ? 0 : -Math.log(1 - random.below(1e6) / 1e6);
    atMs += (1000 * gap) / (arrivals.perSecond || 1);
    await delay(atMs);
    await rig.create(namespace, name);
  });
  await Promise.all(made);
}

async function delays(
  rig: Rig,
  { namespace, mark }: { namespace: string; mark: number },
): Promise<number[]> {
  const entries = (await rig.audited(mark)).filter(
    ({ verb, objectRef, responseStatus }) =>
      verb === "create" && objectRef?.namespace === namespace && responseStatus?.code === 201,
  );
  const received = (resource: string) =>
    entries
      .filter(({ objectRef }) => objectRef?.resource === resource && !objectRef.subresource)
      .map(({ objectRef, requestReceivedTimestamp }) => ({
        name: objectRef?.name ?? "",
        atMs: microseconds(requestReceivedTimestamp) / 1000,
      }));
  // A pod's name is its session's with a dash and eight digits.
  const pods = new Map(received("pods").map(({ name, atMs }) => [name.slice(0, -9), atMs]));
  return received("argussessions").map(({ name, atMs }) => (pods.get(name) ?? Number.NaN) - atMs);
}

/** The log has microseconds, which a Date drops. */
function microseconds(time: string): number {
  const [, digits = "0"] = /\.(\d+)Z$/.exec(time) ?? [];
  const whole = Date.parse(time.replace(/\.\d+Z$/, "Z"));
  return whole * 1000 + Number(digits.padEnd(6, "0").slice(0, 6));
}
