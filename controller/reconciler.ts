import { KubeError } from "#cluster/kube-error.ts";
import { type Clock, systemClock } from "#lib/clock.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import type { Running } from "#lib/running.ts";
import type { WorkQueue } from "#lib/workqueue.ts";
import type { KindMetrics } from "./metrics.ts";

/** What a reconcile says about its key: all is as it should be, or look again later. A throw = retry with back-off. */
export type Outcome = { done: true } | { requeueAfterMs: number };

/**
 * Makes the world match one object, named by `namespace/name`: never an event, never an object, so that what is acted on is
 * always the newest state. `signal` aborts when the process can wait no longer.
 */
export type Reconcile = (key: string, signal: AbortSignal) => Promise<Outcome>;

/** No retry can help until somebody changes the object; its condition says so. */
export class TerminalError extends ArgusError {}

/** A repeat helps only when something else changed meanwhile: not sooner than after this time. */
export class PausedError extends ArgusError {
  readonly afterMs: number;

  constructor(message: string, afterMs: number) {
    super("Unavailable", message);
    this.afterMs = afterMs;
  }
}

export interface ReconcilerOptions {
  /** Label of logs and metrics. */
  name: string;
  queue: WorkQueue;
  reconcile: Reconcile;
  /** Keys that are worked on at once. */
  workers: number;
  metrics: KindMetrics;
  logger: Logger;
  clock?: Clock;
}

/** A reconcile under way when the process stops may go on for this long. */
const STOP_GRACE_MS = 20_000;

/** Works on the queue's keys until `signal` aborts, then ends what is under way. The only place that logs, counts and retries. */
export function startReconciler(options: ReconcilerOptions, signal: AbortSignal): Running {
  const clock = options.clock ?? systemClock;
  const lateStop = new AbortController();
  const workers = Array.from({ length: options.workers }, () =>
    work(options, { stop: signal, lateStop: lateStop.signal }),
  );
  const closed = Promise.all(workers).then(() => options.queue.close());
  const grace = new AbortController();
  signal.addEventListener(
    "abort",
    () => {
      clock.sleep(STOP_GRACE_MS, grace.signal).then(
        () => lateStop.abort(new ArgusError("Timeout", "the process stops")),
        () => undefined,
      );
    },
    { once: true },
  );
  return { closed: closed.finally(() => grace.abort()) };
}

async function work(
  options: ReconcilerOptions,
  { stop, lateStop }: { stop: AbortSignal; lateStop: AbortSignal },
): Promise<void> {
  while (!stop.aborted) {
    const key = await options.queue.take(stop).catch(() => undefined);
    if (key === undefined) return;
    try {
      await reconcileOne(options, key, lateStop);
    } finally {
      options.queue.done(key);
    }
  }
}

async function reconcileOne(
  options: ReconcilerOptions,
  key: string,
  signal: AbortSignal,
): Promise<void> {
  const { queue, reconcile, metrics } = options;
  const finish = metrics.started();
  try {
    const outcome = await reconcile(key, signal);
    queue.forget(key);
    if ("done" in outcome) return finish("success");
    queue.addAfter(key, outcome.requeueAfterMs);
    finish("requeue_after");
  } catch (error) {
    finish("error");
    fail(options, key, error);
  }
}

/** While the API server is away nobody waits long beyond its return; what it asks for is kept. */
const AWAY_MAX_MS = 5000;

function pace(error: unknown): { atLeastMs?: number; atMostMs?: number } {
  if (!(error instanceof KubeError)) return {};
  const atLeastMs = error.retryAfterMs ?? 0;
  const away = error.status === 0 || error.status === 429 || error.status >= 500;
  return away ? { atLeastMs, atMostMs: Math.max(AWAY_MAX_MS, atLeastMs) } : { atLeastMs };
}

function fail({ queue, logger, name }: ReconcilerOptions, key: string, error: unknown): void {
  const facts = error instanceof ArgusError ? { code: error.code, ...error.facts } : {};
  const fields = { controller: name, object: key, error: errorMessage(error), ...facts };
  if (error instanceof TerminalError) {
    queue.forget(key);
    logger.warn(fields, "object cannot be reconciled until it changes");
    return;
  }
  if (error instanceof PausedError) {
    queue.forget(key);
    queue.addAfter(key, error.afterMs);
    // The object's condition and its event say it to those who can change it.
    logger.debug({ ...fields, retryMs: error.afterMs }, "reconcile waits for a change");
    return;
  }
  const retryMs = queue.retry(key, pace(error));
  // Somebody wrote first: ordinary, the next look has the newer state.
  const level = error instanceof ArgusError && error.code === "Conflict" ? "debug" : "warn";
  logger[level]({ ...fields, retryMs }, "reconcile failed");
}
