import { type Clock, systemClock } from "#lib/clock.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import type { Running } from "#lib/running.ts";
import { startInformer } from "./informer.ts";
import { type Claim, LeaseHolder } from "./lease.ts";
import { leases } from "./resources.ts";
import type { Fence, KubeClient } from "./types.ts";

export interface ElectionOptions {
  kube: KubeClient;
  namespace: string;
  /** Name of the Lease. */
  name: string;
  /** Of this replica; never may two run under one name at once. */
  identity: string;
  logger: Logger;
  clock?: Clock;
  /** Milliseconds that never step back. */
  monotonicMs?: () => number;
  random?: () => number;
}

/** A time as the leader. */
export interface Term {
  /** Writes only while the term lasts. */
  kube: KubeClient;
  /** For what is written elsewhere than through `kube`. */
  fence: Fence;
  /** Aborts when the term is over or the process stops; no new work is begun then. */
  signal: AbortSignal;
}

export interface Election extends Running {
  isLeader(): boolean;
  /** Why nobody could become leader here, one sentence each; empty = all is well, also for a standby. */
  unready(): string[];
}

/** A Lease that its holder did not renew for this long may be taken. */
const LEASE_MS = 15_000;
/** Who could not renew for this long stops writing, well before others may take the Lease. */
const RENEW_DEADLINE_MS = 10_000;
const RETRY_MS = 2000;
/** A standby waits up to this many times as long, so that several do not ask at once. */
const JITTER = 1.2;
/** A call that hangs for longer is made again. */
const CALL_MS = 4000;

/**
 * Holds a Lease while it can and calls `lead` for each term. A term ends when the Lease could not be renewed in time, by
 * whichever clock runs faster: from then on every write is refused before it is sent, and those under way are aborted. When
 * the process stops, the Lease is kept until `lead` has ended and is then given back, so that a successor need not wait.
 */
export function startElection(
  options: ElectionOptions,
  lead: (term: Term) => Promise<void>,
  signal: AbortSignal,
): Election {
  const elector = new Elector(options, lead, signal);
  const closed = elector.run();
  return { isLeader: () => elector.leads, unready: () => elector.unready(), closed };
}

class Elector {
  leads = false;
  readonly #options: ElectionOptions;
  readonly #lead: (term: Term) => Promise<void>;
  readonly #signal: AbortSignal;
  readonly #clock: Clock;
  readonly #elapsed: () => number;
  readonly #lease: LeaseHolder;
  #heardMs = Number.NEGATIVE_INFINITY;
  #trouble = "the Lease has not been read yet";

  constructor(options: ElectionOptions, lead: (term: Term) => Promise<void>, signal: AbortSignal) {
    this.#options = options;
    this.#lead = lead;
    this.#signal = signal;
    this.#clock = options.clock ?? systemClock;
    this.#elapsed = fasterOf(this.#clock, options.monotonicMs ?? (() => performance.now()));
    this.#lease = new LeaseHolder({
      ...options,
      leaseMs: LEASE_MS,
      now: () => this.#clock.now(),
      elapsedMs: this.#elapsed,
    });
  }

  async run(): Promise<void> {
    while (!this.#signal.aborted) {
      const since = await this.#acquire();
      if (since !== undefined) await this.#term(since);
    }
  }

  unready(): string[] {
    const { name, namespace } = this.#options;
    if (this.#elapsed() - this.#heardMs < RENEW_DEADLINE_MS) return [];
    return [`Lease ${namespace}/${name}: ${this.#trouble || "no answer for ten seconds"}`];
  }

  /** Waits for the Lease; returns when the request was sent that took it. */
  async #acquire(): Promise<number | undefined> {
    const watching = new AbortController();
    const wake = this.#watch(AbortSignal.any([this.#signal, watching.signal]));
    try {
      while (!this.#signal.aborted) {
        const claim = await this.#try();
        if (claim?.held) return claim.sinceMs;
        const { random = Math.random } = this.#options;
        const retryMs = RETRY_MS * (1 + (JITTER - 1) * random());
        await this.#pause(Math.min(retryMs, claim?.freeInMs ?? retryMs), wake());
      }
      return undefined;
    } finally {
      watching.abort();
    }
  }

  /** A Lease that is given back or taken wakes a standby at once; its polling does not rely on it. */
  #watch(signal: AbortSignal): () => Promise<void> {
    const { kube, namespace, name, logger } = this.#options;
    let woken = Promise.withResolvers<void>();
    const fieldSelector = `metadata.name=${name}`;
    const options = { namespace, fieldSelector, logger, clock: this.#clock };
    const seen = startInformer(kube, leases, options, signal);
    seen.onChange(() => {
      woken.resolve();
      woken = Promise.withResolvers<void>();
    });
    return () => woken.promise;
  }

  async #term(sinceMs: number): Promise<void> {
    const lost = new AbortController();
    const over = new AbortController();
    const term = new TermClock(sinceMs, this.#elapsed, lost);
    const { kube, logger, identity } = this.#options;
    const signal = AbortSignal.any([this.#signal, lost.signal]);
    this.leads = true;
    logger.info({ identity }, "leads");
    const renewing = this.#renew(term, over.signal);
    try {
      await this.#lead({ kube: kube.fenced(term), fence: term, signal });
    } finally {
      this.leads = false;
      over.abort();
      await renewing;
      if (!lost.signal.aborted) await this.#release();
      else logger.warn({ identity }, "no longer leads: the Lease could not be renewed");
    }
  }

  /** Renews until `over` aborts or the deadline passes, which ends the term. */
  async #renew(term: TermClock, over: AbortSignal): Promise<void> {
    while (!over.aborted && term.leftMs() > 0) {
      await this.#pause(Math.min(RETRY_MS, term.leftMs()), aborted(over));
      if (over.aborted || term.leftMs() <= 0) break;
      const claim = await this.#try(Math.min(CALL_MS, term.leftMs()));
      if (claim?.held) term.renewed(claim.sinceMs);
      // Only a Lease that somebody else holds is lost; our own may have changed under a lost answer.
      else if (claim && claim.freeInMs > 0) break;
    }
    if (!over.aborted) term.lose();
  }

  /** Undefined = no answer that says anything. */
  async #try(limitMs = CALL_MS): Promise<Claim | undefined> {
    const over = new AbortController();
    const late = this.#clock.sleep(limitMs, over.signal).then(
      () => Promise.reject(new ArgusError("Timeout", `no answer in ${Math.round(limitMs)} ms`)),
      () => undefined,
    );
    try {
      const claim = await Promise.race([this.#lease.claim(), late]);
      this.#heardMs = this.#elapsed();
      this.#trouble = "";
      return claim;
    } catch (error) {
      this.#trouble = errorMessage(error);
      this.#options.logger.warn({ error: this.#trouble }, "the Lease could not be had");
      return undefined;
    } finally {
      over.abort();
    }
  }

  async #release(): Promise<void> {
    try {
      await this.#lease.release();
    } catch (error) {
      const fields = { error: errorMessage(error) };
      this.#options.logger.warn(fields, "the Lease was not given back; a successor waits for it");
    }
  }

  async #pause(ms: number, woken: Promise<void>): Promise<void> {
    const over = new AbortController();
    const stop = AbortSignal.any([this.#signal, over.signal]);
    // While a term ends in order the process is stopping, and the Lease is still renewed.
    const signal = this.leads ? over.signal : stop;
    await Promise.race([this.#clock.sleep(ms, signal).catch(() => undefined), woken]);
    over.abort();
  }
}

/** Until when writing is allowed: counted from the sending of the last renewal that succeeded. */
class TermClock implements Fence {
  readonly signal: AbortSignal;
  readonly #elapsed: () => number;
  readonly #lost: AbortController;
  #renewedMs: number;

  constructor(sinceMs: number, elapsed: () => number, lost: AbortController) {
    this.#renewedMs = sinceMs;
    this.#elapsed = elapsed;
    this.#lost = lost;
    this.signal = lost.signal;
  }

  renewed(sinceMs: number): void {
    this.#renewedMs = sinceMs;
  }

  leftMs(): number {
    return this.signal.aborted ? 0 : this.#renewedMs + RENEW_DEADLINE_MS - this.#elapsed();
  }

  check(): void {
    if (this.leftMs() <= 0) this.lose();
    this.signal.throwIfAborted();
  }

  lose(): void {
    this.#lost.abort(
      new ArgusError("Unavailable", "another replica may lead now: nothing is written"),
    );
  }
}

/** Clocks that differ by less than this agree. */
const AGREE_MS = 1000;

/** Milliseconds since some moment, by the clock that ran further: a suspended machine stops one, a person sets the other. */
function fasterOf(clock: Clock, monotonicMs: () => number): () => number {
  let total = 0;
  let wallShift = -clock.now();
  let steadyShift = -monotonicMs();
  return () => {
    const wall = clock.now() + wallShift;
    const steady = monotonicMs() + steadyShift;
    total = Math.max(total, wall, steady);
    if (total - wall > AGREE_MS) wallShift += total - wall;
    if (total - steady > AGREE_MS) steadyShift += total - steady;
    return total;
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
