import { setTimeout as delay } from "node:timers/promises";
import { createKubeClient } from "#cluster/client.ts";
import type { Pod } from "#cluster/core-types.ts";
import { startInformer } from "#cluster/informer.ts";
import { argusSessions, pods } from "#cluster/resources.ts";
import type { Informer, KubeClient } from "#cluster/types.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import { silentLogger } from "#lib/logger.ts";
import { LABEL } from "#protocol/pod.ts";
import { ArgusUp } from "#test/support/argus-up.ts";
import { eventually } from "#test/support/eventually.ts";
import type { BenchOptions } from "../bench.ts";
import { ForeignCpu, figure, quantile } from "../controller/figures.ts";
import { environment, table } from "../relay/report.ts";

const NAMESPACE = "default";
const SESSIONS = 10;
/** The shortest that the API takes. */
const SUSPEND_SECONDS = 30;
const COLD_MS = 180_000;
const GAP_MS = 500;

/** Times of one message to a cold session, ms since it was sent. */
interface Wake {
  /** Its pod was made. */
  pod: number;
  ready: number;
  ended: number;
}

interface World {
  up: ArgusUp;
  kube: KubeClient;
  pods: Informer<Pod>;
  sessions: Informer<ArgusSession>;
  lost: number;
}

/**
 * K17: a message to a suspended session, beside the same message to a running one, on `argus up` with its real processes. What
 * lies between the pod's creation and its readiness is the kubelet's and the container's, and does not count.
 */
export async function benchCold({ quick, repetitions }: BenchOptions): Promise<string> {
  const up = await ArgusUp.start();
  const stop = new AbortController();
  try {
    const kube = await createKubeClient({ kubeconfig: up.kubeconfig, logger: silentLogger() });
    const options = { namespace: NAMESPACE, logger: silentLogger() };
    const world: World = {
      up,
      kube,
      pods: startInformer<Pod>(kube, pods, options, stop.signal),
      sessions: startInformer<ArgusSession>(kube, argusSessions, options, stop.signal),
      lost: 0,
    };
    return `${await environment()}\n\n${table(await measure(world, quick ? 2 : SESSIONS, repetitions))}`;
  } finally {
    stop.abort();
    await up.destroy();
  }
}

async function measure(world: World, count: number, rounds: number) {
  const names = Array.from({ length: count }, (_, n) => `s${n}`);
  await Promise.all(names.map((name) => make(world, name)));
  const foreign = new ForeignCpu();
  const running: number[] = [];
  for (const name of names) {
    await message(world, name, "first");
    // At once: it would be cold again when all have been asked.
    for (const key of ["second", "third"]) running.push((await message(world, name, key)).ended);
  }
  const wakes: Wake[] = [];
  for (let round = 0; round < rounds; round += 1) {
    await Promise.all(names.map((name) => cold(world, name)));
    for (const name of names) wakes.push(await message(world, name, `round-${round}`));
  }
  return rowsOf({ running, wakes, lost: world.lost }, foreign.share());
}

async function make({ kube }: World, name: string): Promise<void> {
  await kube.create(argusSessions, {
    apiVersion: "argus.dev/v1alpha1",
    kind: "ArgusSession",
    metadata: { name, namespace: NAMESPACE },
    spec: {
      heartbeat: { intervalSeconds: 0 },
      idle: { suspendAfterSeconds: SUSPEND_SECONDS },
      runtime: { command: ["argus", "echo"] },
    },
  } as never);
}

async function cold({ sessions, pods: all }: World, name: string): Promise<void> {
  await eventually(
    `${name} is cold`,
    () => {
      const conditions = sessions.get(`${NAMESPACE}/${name}`)?.status?.conditions ?? [];
      const suspended = conditions.find(({ type }) => type === "Suspended");
      return suspended?.status === "True" && podsOf(all, name).length === 0;
    },
    COLD_MS,
  );
}

const podsOf = (all: Informer<Pod>, name: string) =>
  all.list().filter(({ metadata }) => metadata.labels?.[LABEL.session] === name);
const isReady = ({ status }: Pod) =>
  status?.conditions?.some(({ type, status: value }) => type === "Ready" && value === "True");

/** Sends it twice, as a sender that got no answer would, and waits for its one end. */
async function message(world: World, name: string, key: string): Promise<Wake> {
  await delay(GAP_MS);
  const client = await world.up.connect({ session: name });
  const seen = { pod: Number.NaN, ready: Number.NaN };
  const from = performance.now();
  const over = new AbortController();
  world.pods.onChange((_, pod, change) => {
    if (over.signal.aborted || change === "deleted") return;
    if (pod.metadata.labels?.[LABEL.session] !== name) return;
    seen.pod = Math.min(performance.now() - from, orInfinity(seen.pod));
    if (isReady(pod)) seen.ready = Math.min(performance.now() - from, orInfinity(seen.ready));
  });
  try {
    const sent = { text: key, key };
    const { inputId } = await client.request("argus/input/enqueue", sent);
    await client.waitFor("its end", ({ method }) => method === "argus/input/ended");
    const ended = performance.now() - from;
    const again = await client.request("argus/input/enqueue", sent);
    const end = again["ended"] as { id: string; state: string } | undefined;
    if (end?.id !== inputId || end?.state !== "done") world.lost += 1;
    return { ...seen, ended };
  } finally {
    over.abort();
    await client.close();
  }
}

const orInfinity = (value: number) => (Number.isNaN(value) ? Number.POSITIVE_INFINITY : value);

function rowsOf(
  { running, wakes, lost }: { running: number[]; wakes: Wake[]; lost: number },
  foreign: number,
) {
  const usual = quantile(running, 0.5);
  const added = wakes.map(({ pod, ready, ended }) => pod + (ended - ready) - usual);
  const ms = (goal: string, what: string, values: number[], atMost?: number) =>
    figure({ goal, what, unit: " ms", ...(atMost ? { atMost } : {}) }, values, [foreign]);
  const at = (values: number[], share: number) => [quantile(values, share)];
  return [
    ms("–", "running session: message sent to its turn's end (echo)", running),
    ms(
      "–",
      "cold session: the same",
      wakes.map(({ ended }) => ended),
    ),
    ms(
      "–",
      "of it: message sent to its pod made, p50",
      at(
        wakes.map(({ pod }) => pod),
        0.5,
      ),
    ),
    ms(
      "–",
      "of it: the pod's own start",
      wakes.map(({ pod, ready }) => ready - pod),
    ),
    ms("–", "added by gateway and controller, p50", at(added, 0.5)),
    ms("K17", `added by gateway and controller, p99 of ${wakes.length}`, at(added, 0.99), 150),
    figure({ goal: "K17", what: `lost or doubled of ${wakes.length} messages`, atMost: 0 }, [lost]),
  ];
}
