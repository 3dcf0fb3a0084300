import type { KubeClient } from "#cluster/types.ts";
import { backoffMs, systemClock } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import type { Running } from "#lib/running.ts";
import type { KeyRing } from "./key-ring.ts";

const RETRY = { baseMs: 250, maxMs: 15_000 };
/** Key rotation moves by time alone; this often it is looked at. */
const EVERY_MS = 10 * 60_000;
/** Pods that do not know a key ask for it together: one write serves them. */
const AT_MOST_EVERY_MS = 5000;

export interface PublisherOptions {
  keys: KeyRing;
  kube: KubeClient;
  namespace: string;
  logger: Logger;
}

export interface Publisher extends Running {
  /** Resolves once the keys were published; rejects when the gateway stops before. */
  first: Promise<void>;
  /** Publishes again soon. */
  again: () => void;
}

/** Keeps the ConfigMap of public keys as it should be, and retires keys in time. */
export function startPublisher(options: PublisherOptions, signal: AbortSignal): Publisher {
  const first = Promise.withResolvers<void>();
  first.promise.catch(() => {});
  let wake: () => void = () => {};
  /** Somebody asked since the last publishing began. */
  let wanted = false;
  const closed = loop();

  async function loop(): Promise<void> {
    for (let failures = 0; !signal.aborted; ) {
      wanted = false;
      const ok = await publish(options, signal);
      if (ok) first.resolve();
      failures = ok ? 0 : failures + 1;
      if (ok) await Promise.race([pause(EVERY_MS), asked()]);
      await pause(ok ? AT_MOST_EVERY_MS : backoffMs(failures, RETRY));
    }
    first.reject(signal.reason);
  }

  const pause = (ms: number) => systemClock.sleep(ms, signal).catch(() => {});
  const asked = () =>
    new Promise<void>((resolve) => {
      wake = resolve;
      if (wanted) resolve();
    });
  const again = () => {
    wanted = true;
    wake();
  };
  return { first: first.promise, again, closed };
}

async function publish(
  { keys, kube, namespace, logger }: PublisherOptions,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await keys.publish(kube, namespace);
    return true;
  } catch (error) {
    if (!signal.aborted) {
      logger.warn({ namespace, error: errorMessage(error) }, "public keys not published; retrying");
    }
    return false;
  }
}
