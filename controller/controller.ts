import { startInformer } from "#cluster/informer.ts";
import { startElection } from "#cluster/leader-election.ts";
import { argusSessions } from "#cluster/resources.ts";
import type { ArgusSession } from "#crds/kinds.ts";
import type { Listening } from "#lib/running.ts";
import { cronKind } from "./cron/kind.ts";
import { startHealth } from "./health.ts";
import { type Kind, workOn } from "./kind.ts";
import { Metrics } from "./metrics.ts";
import { networkKind, startPolicies } from "./network/kind.ts";
import type { ControllerOptions } from "./options.ts";
import { sessionKind } from "./session/kind.ts";
import { isStale } from "./stale.ts";
import { Troubles } from "./troubles.ts";

const LEASE = "argus-controller";

/**
 * Makes the cluster match the custom resources of one namespace, while this replica leads. Resolves once health is served.
 * Aborting `signal` lets the reconciles under way end, then gives the lead away.
 */
export async function startController(
  options: ControllerOptions,
  signal: AbortSignal,
): Promise<Listening> {
  const { kube, namespace, logger, identity } = options;
  const troubles = new Troubles(logger);
  const metrics = new Metrics({
    lease: LEASE,
    isLeader: () => election.isLeader(),
    requests: kube.counts?.bind(kube),
  });
  const kinds = startKinds(options, metrics.registry, signal);
  const election = startElection(
    { kube, namespace, name: LEASE, identity, logger },
    async (term) => {
      const parts = { kube: term.kube, fence: term.fence, metrics, troubles, logger };
      await Promise.all(kinds.map((kind) => workOn(kind, parts, term.signal)));
    },
    signal,
  );
  const unready = () => [...election.unready(), ...kinds.flatMap(behind), ...troubles.list()];
  const { host, port } = options;
  const { registry } = metrics;
  const health = await startHealth({ host, port, unready, registry }, signal);
  const caches = kinds.flatMap((kind) => Object.values(kind.caches));
  const running = [election, health, ...caches].map((each) => each.closed);
  return {
    host: health.host,
    port: health.port,
    closed: Promise.all(running).then(() => undefined),
  };
}

function startKinds(
  options: ControllerOptions,
  registry: Metrics["registry"],
  signal: AbortSignal,
): Kind[] {
  const { kube, namespace, logger } = options;
  // One watch per collection, however many kinds look at it.
  const sessions = startInformer<ArgusSession>(kube, argusSessions, { namespace, logger }, signal);
  const policies = startPolicies(options, signal);
  return [
    networkKind(options, policies),
    sessionKind({ options, sessions, policies }, signal),
    cronKind({ options, sessions, registry }, signal),
  ];
}

function behind({ name, caches }: Kind): string[] {
  return Object.entries(caches).flatMap(([what, cache]) => {
    const why = cache.trouble() ? ` (${cache.trouble()})` : "";
    if (cache.version() === undefined) {
      return [`${name}: the cache of ${what} is not synced yet${why}`];
    }
    if (!isStale(cache)) return [];
    return [
      `${name}: the cache of ${what} heard nothing from the API server for two minutes${why}`,
    ];
  });
}
