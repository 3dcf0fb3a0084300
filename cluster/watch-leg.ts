import { backoffMs, type Clock, systemClock } from "#lib/clock.ts";
import { failureOf } from "./call.ts";
import { KubeError, type KubeStatus } from "./kube-error.ts";
import { collectionPath } from "./resources.ts";
import { SilenceAlarm } from "./silence-alarm.ts";
import type { KubeClient, KubeObject, KubeResponse, Resource } from "./types.ts";
import { isAtLeast } from "./versions.ts";
import {
  BrokenStreamError,
  type ToldEvents,
  type WatchEvent,
  watchEvents,
} from "./watch-events.ts";

export interface WatchOptions {
  kube: KubeClient;
  resource: Resource;
  namespace?: string | undefined;
  labelSelector?: string | undefined;
  fieldSelector?: string | undefined;
  clock?: Clock | undefined;
  /** A stream without a byte for this long is dead; the API server sends a bookmark about each minute. */
  silenceLimitMs?: number | undefined;
  backoff?: { baseMs: number; maxMs: number } | undefined;
  random?: (() => number) | undefined;
}

export type Change<T extends KubeObject> = Exclude<WatchEvent<T>, { type: "ERROR" }>;

/** With the time for a new connection below a minute and a half. */
const SILENCE_LIMIT_MS = 80_000;
/** 0.8 to 30 s, doubling, the upper half of each delay random. */
const BACKOFF = { baseMs: 1600, maxMs: 30_000 };
/**
 * A watch that ended sooner than this counts as a failure, else a server that hangs up at once is hammered. After one that
 * lived longer the next begins at once, whatever ended it.
 */
const SHORT_WATCH_MS = 1000;
const MIN_WATCH_SECONDS = 300;
const MAX_WATCH_SECONDS = 600;
/** Planned ends of two legs are at least so far apart. */
const STAGGER_SECONDS = 30;

/** Watches of one collection, one after another on one connection; each leg waits after its own failures only. */
export class WatchLeg<T extends KubeObject> {
  readonly standby: boolean;
  /** In a row; -1 = the last watch lived. */
  failures = 0;
  /** Whether it was told that it cannot go on from where it stood, and has not lived since. */
  behind = false;
  readonly #options: WatchOptions;
  readonly #clock: Clock;
  readonly #told: ToldEvents<T>;
  /** When the API server accepted the watch that runs. */
  #acceptedMs: number | undefined;
  #endsAtMs = 0;

  constructor(options: WatchOptions, told: ToldEvents<T>, standby: boolean) {
    this.#options = options;
    this.#told = told;
    this.#clock = options.clock ?? systemClock;
    this.standby = standby;
  }

  /** Whether a watch runs that the API server has accepted: it will tell everything that happens after its beginning. */
  get follows(): boolean {
    return this.#acceptedMs !== undefined;
  }

  /** When the API server is to end the watch that runs or ran last. */
  get endsAtMs(): number {
    return this.#endsAtMs;
  }

  /**
   * One watch: what happens after `version`; without one the collection itself comes first, as a streamed list.
   * Ends as the API server plans it and throws for every other end.
   */
  async *watch(
    asked: { version: string | undefined; otherEndsAtMs: number },
    accepted: () => void,
    signal: AbortSignal,
  ): AsyncGenerator<Change<T>> {
    const abort = new AbortController();
    const limitMs = this.#options.silenceLimitMs ?? SILENCE_LIMIT_MS;
    const alarm = new SilenceAlarm(this.#clock, limitMs, abort);
    const startedMs = this.#clock.monotonicMs();
    try {
      const answer = await this.#request(asked, AbortSignal.any([signal, abort.signal]));
      if (answer.status >= 300) throw await failureOf(this.#label(), answer);
      this.#acceptedMs = this.#clock.monotonicMs();
      accepted();
      yield* this.#changes(asked.version, alarm.listen(answer.body), signal);
    } catch (error) {
      throw abort.signal.aborted ? abort.signal.reason : error;
    } finally {
      alarm.stop();
      abort.abort();
      this.#ended();
    }
    if (this.#clock.monotonicMs() - startedMs < SHORT_WATCH_MS) {
      throw new Error("the watch ended at once");
    }
  }

  progressed(): void {
    this.failures = 0;
    this.behind = false;
  }

  /** How long to wait after this end, in ms: the back-off or what the server asked for. */
  pauseMs(error: unknown, { relist }: { relist: boolean }): number {
    const { backoff = BACKOFF, random } = this.#options;
    const askedMs = error instanceof KubeError ? (error.retryAfterMs ?? 0) : 0;
    const own = backoffMs(Math.max(0, this.failures), { ...backoff, jitter: 0.5 }, random);
    // After a healthy time there is nothing to wait for.
    const atOnce = this.failures < 0 || (relist && this.failures === 0);
    return atOnce ? askedMs : Math.max(own, askedMs);
  }

  async *#changes(
    from: string | undefined,
    body: AsyncIterable<Buffer>,
    signal: AbortSignal,
  ): AsyncGenerator<Change<T>> {
    let last = from;
    for await (const event of watchEvents(body, this.#told)) {
      if (signal.aborted) return;
      if (event.type === "ERROR") throw errorOf(this.#label(), event.object);
      // A streamed list comes in any order.
      if (last !== undefined || isInitialEnd(event)) last = later(event, last);
      yield event;
    }
  }

  #ended(): void {
    const livedMs = this.#clock.monotonicMs() - (this.#acceptedMs ?? Number.POSITIVE_INFINITY);
    // Where a watch could begin and go on, its version was not too old.
    if (livedMs >= SHORT_WATCH_MS) {
      this.failures = -1;
      this.behind = false;
    }
    this.#acceptedMs = undefined;
  }

  #request(
    asked: { version: string | undefined; otherEndsAtMs: number },
    signal: AbortSignal,
  ): Promise<KubeResponse> {
    const { kube, resource, namespace, labelSelector, fieldSelector } = this.#options;
    const { version } = asked;
    const start =
      version === undefined
        ? { sendInitialEvents: true, resourceVersionMatch: "NotOlderThan" }
        : { resourceVersion: version };
    return kube.request("GET", collectionPath(resource, namespace), {
      query: {
        ...(labelSelector ? { labelSelector } : {}),
        ...(fieldSelector ? { fieldSelector } : {}),
        ...start,
        watch: true,
        allowWatchBookmarks: true,
        timeoutSeconds: this.#plan(asked.otherEndsAtMs),
      },
      standby: this.standby,
      signal,
      timeoutMs: 0,
    });
  }

  #plan(otherEndsAtMs: number): number {
    const { random = Math.random } = this.#options;
    const nowMs = this.#clock.monotonicMs();
    const seconds = plannedSeconds((otherEndsAtMs - nowMs) / 1000, random);
    this.#endsAtMs = nowMs + seconds * 1000;
    return seconds;
  }

  #label(): string {
    return `watch ${this.#options.resource.plural}`;
  }
}

/** Random between five and ten minutes, away from the other leg's end. */
export function plannedSeconds(otherEndsInSeconds: number, random: () => number): number {
  const span = MAX_WATCH_SECONDS - MIN_WATCH_SECONDS;
  const seconds = Math.round(MIN_WATCH_SECONDS + span * random());
  if (Math.abs(seconds - otherEndsInSeconds) >= STAGGER_SECONDS) return seconds;
  const later = Math.ceil(otherEndsInSeconds) + STAGGER_SECONDS;
  return later <= MAX_WATCH_SECONDS ? later : Math.floor(otherEndsInSeconds) - STAGGER_SECONDS;
}

/** Whether this bookmark ends a streamed list. */
export function isInitialEnd(event: Change<KubeObject>): boolean {
  const { annotations } = event.object.metadata;
  return event.type === "BOOKMARK" && annotations?.["k8s.io/initial-events-end"] === "true";
}

/** The event's version. Throws BrokenStreamError when it is not above `last`: the API server's past is another one now. */
function later({ type, object }: Change<KubeObject>, last: string | undefined): string {
  const { resourceVersion = "" } = object.metadata;
  const same = resourceVersion === last;
  if (last !== undefined && (same ? type !== "BOOKMARK" : isAtLeast(last, resourceVersion))) {
    throw new BrokenStreamError(`the watch goes back from ${last} to ${resourceVersion}`);
  }
  return resourceVersion;
}

function errorOf(call: string, answer: KubeStatus): KubeError {
  const seconds = answer.details?.retryAfterSeconds;
  const retry = seconds ? { retryAfterMs: seconds * 1000 } : {};
  return new KubeError({ call, status: answer.code ?? 500, answer, ...retry });
}
