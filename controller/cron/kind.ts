import type { Registry } from "prom-client";
import { EventRecorder } from "#cluster/events.ts";
import { IndexBy } from "#cluster/index-by.ts";
import { startInformer } from "#cluster/informer.ts";
import { argusCrons } from "#cluster/resources.ts";
import type { Informer } from "#cluster/types.ts";
import type { ArgusCron, ArgusSession } from "#crds/kinds.ts";
import { systemClock } from "#lib/clock.ts";
import type { Logger } from "#lib/logger.ts";
import type { Running } from "#lib/running.ts";
import { follow, type Kind, type KindTerm, type Work } from "../kind.ts";
import type { ControllerOptions } from "../options.ts";
import { Written } from "../written.ts";
import { Agenda } from "./agenda.ts";
import { type CronMetrics, cronMetrics } from "./metrics.ts";
import { GatewayPost } from "./post.ts";
import { CronReconciler } from "./reconcile.ts";

/** Each waits for the gateway and then for the API server; ten thousand may be due in the same second. */
const WORKERS = 32;

export interface CronKindOptions {
  options: ControllerOptions;
  sessions: Informer<ArgusSession> & Running;
  registry: Registry;
}

/** ArgusCrons: their slots become events at the gateway. */
export function cronKind(
  { options, sessions, registry }: CronKindOptions,
  signal: AbortSignal,
): Kind {
  const { kube, namespace, logger } = options;
  const crons = startInformer<ArgusCron>(kube, argusCrons, { namespace, logger }, signal);
  const cronsOf = new IndexBy(crons, ({ metadata, spec }) =>
    keyOfSession(metadata.namespace, spec.sessionRef?.name),
  );
  const { gatewayUrl, gatewayTokenFile: tokenFile } = options;
  const gateway = new GatewayPost({ gatewayUrl, tokenFile });
  const metrics = cronMetrics(registry);
  const world = { logger, crons, sessions, cronsOf, gateway, metrics };
  return {
    name: "arguscron",
    caches: { crons, sessions },
    workers: WORKERS,
    begin: async (term, termSignal) => begin(world, term, termSignal),
  };
}

interface World {
  logger: Logger;
  crons: Informer<ArgusCron>;
  sessions: Informer<ArgusSession>;
  cronsOf: IndexBy<ArgusCron>;
  gateway: GatewayPost;
  metrics: CronMetrics;
}

function begin(world: World, { kube, fence, queue }: KindTerm, signal: AbortSignal): Work {
  const { logger, crons, sessions, cronsOf, gateway, metrics } = world;
  const add = ({ metadata }: ArgusCron, priority: "high" | "low") =>
    queue.add(`${metadata.namespace}/${metadata.name}`, priority);
  for (const cron of crons.list()) add(cron, "low");
  follow(crons, signal, (_, cron) => add(cron, "high"));
  follow(sessions, signal, (key, { metadata }, change) => {
    // Whether it exists is all that matters.
    if (change === "updated" && !metadata.deletionTimestamp) return;
    for (const cron of cronsOf.get(key)) add(cron, "low");
  });
  const agenda = new Agenda((key) => queue.add(key));
  void agenda.run(signal);
  const events = new EventRecorder({ kube, component: "argus-controller", logger });
  const reconciler = new CronReconciler({
    kube,
    fence,
    crons,
    sessions,
    post: (event, term) => gateway.post(event, term),
    fate: (sessionId, key) => gateway.fate(sessionId, key, signal),
    agenda,
    written: new Written(),
    events,
    metrics,
    clock: systemClock,
  });
  return { reconcile: (key) => reconciler.reconcile(key), finish: () => events.flushed() };
}

function keyOfSession(namespace: string | undefined, name: string | undefined) {
  return name === undefined ? undefined : `${namespace ?? ""}/${name}`;
}
