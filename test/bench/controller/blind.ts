import { setTimeout as delay } from "node:timers/promises";
import { createKubeClient } from "#cluster/client.ts";
import { startInformer } from "#cluster/informer.ts";
import { configMaps } from "#cluster/resources.ts";
import type { KubeClient, KubeObject } from "#cluster/types.ts";
import { createLogger, silentLogger } from "#lib/logger.ts";
import type { ApiPeer } from "../../support/api-peer.ts";
import { eventually } from "../../support/eventually.ts";
import { type Fault, RandomFaults, type Strike } from "../../support/fault-proxy/faults.ts";
import { FaultProxy } from "../../support/fault-proxy.ts";
import { freshNamespace } from "../../support/namespaces.ts";
import { watchThroughFaults } from "../../support/watch-faults.ts";
import type { Row } from "../relay/report.ts";
import { figure } from "./figures.ts";

type Say = (text: string) => void;

/** Somebody who keeps a cache of one namespace's config maps through a proxy of his own. */
interface Holder {
  name: string;
  /** Watches that it keeps open. */
  legs: number;
  proxy: FaultProxy;
  next: Fault[];
  list(): readonly KubeObject[];
  stop(): Promise<void>;
}

/** A running watch ends, and the request after that meets this. */
const FAULTS: { name: string; strike: Strike; next?: Fault }[] = [
  { name: "EOF", strike: "end" },
  { name: "RST", strike: "reset" },
  { name: "410 as an event", strike: "expired" },
  { name: "410", strike: "end", next: { kind: "status", status: 410 } },
  { name: "429", strike: "end", next: { kind: "status", status: 429 } },
  { name: "500", strike: "end", next: { kind: "status", status: 500 } },
  { name: "503", strike: "end", next: { kind: "status", status: 503 } },
];
const GAP_MS = 6000;

/** K3: blind time beside client-node's informer, half-open connections. */
export async function blindness(
  peer: ApiPeer,
  { quick, say }: { quick: boolean; say: Say },
): Promise<Row[]> {
  return [...(await halfOpen(peer, say)), ...(await blindTimes(peer, { quick, say }))];
}

/** K3: caches after faults by the thousand. */
export async function randomFaults(
  peer: ApiPeer,
  { quick, say }: { quick: boolean; say: Say },
): Promise<Row[]> {
  const rows: Row[] = [];
  for (const http2 of [true, false]) {
    const faults = quick ? 100 : 5000;
    const protocol = http2 ? "HTTP/2" : "HTTP/1.1";
    const { injected, wrong, compared, changes, seed } = await watchThroughFaults({
      peer,
      faults,
      http2,
      say: (text) => say(`K3: ${protocol}, ${text}`),
    });
    for (const difference of wrong.slice(0, 3)) say(difference.slice(0, 2000));
    const what = `wrong caches of ${compared} after ${injected} faults, ${changes} changes, ${protocol} (seed ${seed})`;
    rows.push(figure({ goal: "K3", what, atMost: 0 }, [wrong.length]));
  }
  return rows;
}

async function halfOpen(peer: ApiPeer, say: Say): Promise<Row[]> {
  say("K3: half-open connections");
  const find = async (http2: boolean) => {
    const kube = await createKubeClient({ kubeconfig: peer.kubeconfig, logger: silentLogger() });
    const namespace = await freshNamespace(kube, "half-open");
    const holder = await ours(peer, namespace, { http2, say });
    try {
      await watching(holder);
      const silentMs = Date.now();
      // Every leg that it has.
      while (holder.proxy.openWatches > 0) holder.proxy.strike("silent", new RandomFaults(1));
      await change(kube, namespace);
      await eventually("the change is seen", () => holds(holder, "changed"), 200_000);
      return (Date.now() - silentMs) / 1000;
    } finally {
      await holder.stop();
      await kube.close();
    }
  };
  const [h2, h1] = await Promise.all([find(true), find(false)]);
  const row = (protocol: string, seconds: number) =>
    figure(
      { goal: "K3", what: `half-open connection found, ${protocol}`, atMost: 90, unit: " s" },
      [seconds],
    );
  return [row("HTTP/2", h2), row("HTTP/1.1", h1)];
}

async function blindTimes(
  peer: ApiPeer,
  { quick, say }: { quick: boolean; say: Say },
): Promise<Row[]> {
  const kube = await createKubeClient({ kubeconfig: peer.kubeconfig, logger: silentLogger() });
  const namespace = await freshNamespace(kube, "blind");
  const holders = [
    await ours(peer, namespace, { http2: true, say }),
    await ours(peer, namespace, { http2: false, say }),
    await stock(peer, namespace, false),
    await stock(peer, namespace, true),
  ];
  try {
    for (const holder of holders) await watching(holder);
    const idleMs = quick ? 5000 : 150_000;
    say(`K3: ${idleMs / 1000} s without events`);
    const idleFromMs = Date.now();
    await delay(idleMs);
    const idle = holders.map(({ proxy }) => 100 * proxy.blindShare(idleFromMs, Date.now()));
    const fromMs = Date.now();
    const gaps = new Map<string, number[]>();
    for (const fault of FAULTS) {
      say(`K3: ${fault.name}`);
      gaps.set(fault.name, await blindAfter(holders, fault));
    }
    const faulty = holders.map(({ proxy }) => 100 * proxy.blindShare(fromMs, Date.now()));
    await change(kube, namespace);
    await delay(GAP_MS);
    return rowsOf({ holders, idle, faulty, gaps });
  } finally {
    for (const holder of holders) await holder.stop();
    await kube.close();
  }
}

/** Of two streams the first of these strikes the older one, the second the other. */
const EITHER = [7, 1];

/** Milliseconds without a watch in the time after a fault, the most of two, for each holder. */
async function blindAfter(
  holders: Holder[],
  { strike, next }: (typeof FAULTS)[number],
): Promise<number[]> {
  const most = holders.map(() => 0);
  for (const seed of EITHER) {
    const fromMs = Date.now();
    for (const holder of holders) {
      if (next) holder.next.push(next);
      holder.proxy.strike(strike, new RandomFaults(seed));
    }
    await delay(GAP_MS);
    for (const [index, { proxy }] of holders.entries()) {
      const blindMs = GAP_MS * proxy.blindShare(fromMs, fromMs + GAP_MS);
      most[index] = Math.max(most[index] ?? 0, blindMs);
    }
  }
  return most;
}

function rowsOf(made: {
  holders: Holder[];
  idle: number[];
  faulty: number[];
  gaps: Map<string, number[]>;
}): Row[] {
  const { holders, idle, faulty, gaps } = made;
  return holders.flatMap((holder, index) => {
    const { name } = holder;
    const goal = index === 0 ? "K3" : "–";
    const at = (values: number[] | undefined) => [values?.[index] ?? Number.NaN];
    const wrong = holds(holder, "changed") ? 0 : 1;
    const target = index === 0 ? { atMost: 0 } : {};
    const unit = " ms";
    return [
      figure(
        { goal, what: `idle watch, ${name}: share of the time blind`, unit: " %", ...target },
        at(idle),
      ),
      ...[...gaps].map(([fault, blind]) =>
        figure(
          {
            goal,
            what: `${name}: blind in the ${GAP_MS / 1000} s after ${fault}`,
            unit,
            ...target,
          },
          at(blind),
        ),
      ),
      figure({ goal: "–", what: `${name}: share of that time blind`, unit: " %" }, at(faulty)),
      figure({ goal, what: `${name}: cache wrong at the end (1 = yes)`, ...target }, [wrong]),
    ];
  });
}

/** Over HTTP/2 two watches, over HTTP/1.1 one. */
async function ours(
  peer: ApiPeer,
  namespace: string,
  { http2, say }: { http2: boolean; say: Say },
): Promise<Holder> {
  const next: Fault[] = [];
  const proxy = await FaultProxy.start(peer, { http2, decide: () => next.shift() });
  const name = `our informer${http2 ? "" : " over HTTP/1.1"}`;
  const write = (line: string) => say(`${name}: ${line.trim()}`);
  const logger = createLogger("bench", "debug", { write });
  const kube = await createKubeClient({ kubeconfig: proxy.kubeconfig, logger });
  const stop = new AbortController();
  const informer = startInformer(kube, configMaps, { namespace, logger }, stop.signal);
  return {
    name,
    legs: http2 ? 2 : 1,
    proxy,
    next,
    list: () => informer.list(),
    stop: async () => {
      stop.abort(new Error("over"));
      await informer.closed;
      await kube.close();
      await proxy.close();
    },
  };
}

/** client-node's informer as it is, or started again five seconds after an error, as its documentation shows. */
async function stock(peer: ApiPeer, namespace: string, restarts: boolean): Promise<Holder> {
  const { CoreV1Api, KubeConfig, makeInformer } = await import("@kubernetes/client-node");
  const next: Fault[] = [];
  const proxy = await FaultProxy.start(peer, { decide: () => next.shift() });
  const config = new KubeConfig();
  config.loadFromFile(proxy.kubeconfig);
  const api = config.makeApiClient(CoreV1Api);
  const path = `/api/v1/namespaces/${namespace}/configmaps`;
  const informer = makeInformer(config, path, () => api.listNamespacedConfigMap({ namespace }));
  let over = false;
  informer.on("error", () => {
    if (restarts && !over)
      setTimeout(() => over || void informer.start().catch(() => undefined), 5000);
  });
  await informer.start();
  return {
    name: `client-node's informer${restarts ? ", restarted on errors" : ""}`,
    legs: 1,
    proxy,
    next,
    list: () => informer.list() as KubeObject[],
    stop: async () => {
      over = true;
      await informer.stop().catch(() => undefined);
      await proxy.close();
    },
  };
}

async function watching({ name, legs, proxy }: Holder): Promise<void> {
  await eventually(`${name} watches`, () => proxy.openWatches === legs);
}

async function change(kube: KubeClient, namespace: string): Promise<void> {
  const metadata = { name: "changed", namespace };
  await kube.create(configMaps, { apiVersion: "v1", kind: "ConfigMap", metadata });
}

const holds = (holder: Holder, name: string): boolean =>
  holder.list().some(({ metadata }) => metadata.name === name);
