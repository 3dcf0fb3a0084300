import type { ArgusCronStatus } from "#crds/argus-cron.ts";
import type { ArgusCron } from "#crds/kinds.ts";
import { backoffMs, type Clock } from "#lib/clock.ts";
import { type EventStatus, slotKey } from "#protocol/events.ts";
import type { AskFate, Fate, PostResult } from "./post.ts";
import { type Followed, timeOf } from "./status.ts";

type LastRun = NonNullable<ArgusCronStatus["lastRun"]>;

interface Following {
  slot: string;
  attempts: number;
  notBeforeMs: number;
}

/** Between two looks at a run that has not ended. */
const LOOK = { baseMs: 1000, maxMs: 30_000 };
const FORGOTTEN = "the gateway knows nothing of it: the session was deleted, or it was forgotten";

/** Asks the gateway what became of the last slot until that is final. One entry for each cron whose run is open. */
export class Follower {
  readonly #fate: AskFate | undefined;
  readonly #clock: Clock;
  readonly #random: (() => number) | undefined;
  readonly #following = new Map<string, Following>();

  constructor(options: { fate?: AskFate; clock: Clock; random?: () => number }) {
    this.#fate = options.fate;
    this.#clock = options.clock;
    this.#random = options.random;
  }

  forget(key: string): void {
    this.#following.delete(key);
  }

  /** When to look again; undefined = there is nothing to follow. */
  nextMs(key: string): number | undefined {
    const notBeforeMs = this.#following.get(key)?.notBeforeMs;
    return notBeforeMs === Number.POSITIVE_INFINITY ? undefined : notBeforeMs;
  }

  /** `result`: what the gateway said just now of the slot `postMs`. */
  async follow(
    key: string,
    cron: ArgusCron,
    { result, postMs }: { result: PostResult | undefined; postMs: number | undefined },
  ): Promise<Followed | undefined> {
    if (!this.#fate) return undefined;
    const isPosted = result !== undefined && result.state !== "failed";
    if (isPosted) return this.#begin(key, result.state === "skipped" ? undefined : postMs);
    const { lastRun } = cron.status ?? {};
    if (!isOpen(lastRun)) return this.#begin(key, undefined);
    return await this.#look(key, cron, lastRun);
  }

  async #look(key: string, cron: ArgusCron, lastRun: LastRun): Promise<Followed | undefined> {
    const known = this.#following.get(key);
    const of = known?.slot === lastRun.slot ? known : { attempts: 0, notBeforeMs: 0 };
    if (of.notBeforeMs > this.#clock.monotonicMs()) return undefined;
    const eventKey = slotKey(cron.metadata.uid ?? "", Date.parse(lastRun.slot));
    const fate = await this.#fate?.(cron.spec.sessionRef.name, eventKey);
    if (!fate) return undefined;
    const followed = followedOf(lastRun, fate);
    if (followed && !isOpen(followed.lastRun)) this.#following.delete(key);
    else this.#later(key, { slot: lastRun.slot, attempts: of.attempts, fate });
    return followed;
  }

  #begin(key: string, slotMs: number | undefined): undefined {
    if (slotMs === undefined) this.#following.delete(key);
    else this.#later(key, { slot: timeOf(slotMs), attempts: 0 });
  }

  #later(key: string, { slot, attempts, fate }: { slot: string; attempts: number; fate?: Fate }) {
    const isAnswered = fate?.state !== "GatewayTooOld";
    const waitMs = isAnswered ? backoffMs(attempts, LOOK, this.#random) : Number.POSITIVE_INFINITY;
    const notBeforeMs = this.#clock.monotonicMs() + waitMs;
    this.#following.set(key, { slot, attempts: attempts + 1, notBeforeMs });
  }
}

function isOpen(run: LastRun | undefined): run is LastRun {
  return run?.state === "Queued" || run?.state === "Running";
}

/** Undefined: nothing new is known. Pure. */
export function followedOf({ slot }: LastRun, fate: Fate): Followed | undefined {
  if (fate.state === "unknown") return { lastRun: { slot, state: "Failed", reason: FORGOTTEN } };
  return fate.state === "known" ? told(slot, fate.status) : undefined;
}

function told(slot: string, status: EventStatus): Followed {
  const { state, reason, finishedAt, lastSuccessfulSlot } = status;
  const run = {
    slot,
    state,
    ...(reason ? { reason } : {}),
    ...(finishedAt ? { finishedAt: wholeSeconds(finishedAt) } : {}),
  };
  const success = state === "Succeeded" ? slot : lastSuccessfulSlot;
  return {
    lastRun: run,
    ...(success ? { lastSuccessfulTime: wholeSeconds(success) } : {}),
  };
}

const wholeSeconds = (time: string) => timeOf(Date.parse(time));
