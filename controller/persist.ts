import { backoffMs, type Clock, systemClock } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import type { Troubles } from "./troubles.ts";

const BACKOFF = { baseMs: 500, maxMs: 30_000 };

/** Repeats a call until it succeeds: an API server that is away at the start is waited for, and readiness says why. */
export async function persist<T>(
  call: () => Promise<T>,
  { logger, troubles, clock = systemClock }: { logger: Logger; troubles: Troubles; clock?: Clock },
  signal: AbortSignal,
): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    let over = () => {};
    try {
      return await call();
    } catch (error) {
      signal.throwIfAborted();
      logger.warn({ error: errorMessage(error) }, "waiting for the Kubernetes API");
      over = troubles.begin(errorMessage(error));
      await clock.sleep(backoffMs(attempt, BACKOFF), signal);
    } finally {
      over();
    }
  }
}
