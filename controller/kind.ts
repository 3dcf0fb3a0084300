import type { Fence, Informer, KubeClient, KubeObject } from "#cluster/types.ts";
import { systemClock } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import type { Running } from "#lib/running.ts";
import { WorkQueue } from "#lib/workqueue.ts";
import type { Metrics } from "./metrics.ts";
import { type Reconcile, startReconciler } from "./reconciler.ts";
import type { Troubles } from "./troubles.ts";

export type Caches = Readonly<Record<string, Informer<KubeObject> & Running>>;

/** One custom resource that the controller looks after, beside others. */
export interface Kind {
  /** Label of its logs and metrics: `argussession`. */
  name: string;
  /** Kept by every replica, so that a standby knows all when it takes over. */
  caches: Caches;
  /** Keys that are worked on at once. */
  workers: number;
  /**
   * Begins a term as the leader, with the caches synced: fills the queue, subscribes to the caches until `signal` aborts, and
   * returns what is to be done for each key.
   */
  begin(term: KindTerm, signal: AbortSignal): Promise<Work>;
}

export interface Work {
  reconcile: Reconcile;
  /** At the end of the term, when no key is worked on any more: writes what was held back. */
  finish?: () => Promise<void>;
}

/** What was held back is given up after this time. */
const FINISH_MS = 5000;

/** What a kind works with while this replica leads. */
export interface KindTerm {
  /** Refuses to write once the term is over. */
  kube: KubeClient;
  /** Of the same term, for effects beyond the Kubernetes API. */
  fence: Fence;
  queue: WorkQueue;
  troubles: Troubles;
}

export interface KindOptions {
  kube: KubeClient;
  fence: Fence;
  metrics: Metrics;
  troubles: Troubles;
  logger: Logger;
}

/** Works on one kind until `signal` aborts, and then ends what is under way. */
export async function workOn(
  kind: Kind,
  { kube, fence, metrics, troubles, logger }: KindOptions,
  signal: AbortSignal,
): Promise<void> {
  const { name, workers } = kind;
  const queue = new WorkQueue();
  const over = troubles.begin(`${name} does not work yet`);
  try {
    await Promise.all(Object.values(kind.caches).map((cache) => cache.synced(signal)));
    const { reconcile, finish } = await kind.begin({ kube, fence, queue, troubles }, signal);
    over();
    logger.info({ controller: name, keys: queue.depth }, "works");
    const counted = metrics.kind(name, queue);
    await startReconciler({ name, queue, reconcile, workers, metrics: counted, logger }, signal)
      .closed;
    if (finish) await inTime(finish, logger);
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    over();
    queue.close();
  }
}

/** Calls `handler` for each change of the cache until `signal` aborts. */
export function follow<T extends KubeObject>(
  cache: Informer<T>,
  signal: AbortSignal,
  handler: Parameters<Informer<T>["onChange"]>[0],
): void {
  if (signal.aborted) return;
  const unsubscribe = cache.onChange(handler);
  signal.addEventListener("abort", unsubscribe, { once: true });
}

async function inTime(finish: () => Promise<void>, logger: Logger): Promise<void> {
  const over = new AbortController();
  const late = systemClock.sleep(FINISH_MS, over.signal).catch(() => undefined);
  try {
    await Promise.race([finish(), late]);
  } catch (error) {
    logger.warn({ error: errorMessage(error) }, "what was held back is not written");
  } finally {
    over.abort();
  }
}
