import { backoffMs, type Clock, systemClock } from "#lib/clock.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { failureOf } from "./call.ts";
import { isExpired, isKubeError, KubeError } from "./kube-error.ts";
import { collectionPath } from "./resources.ts";
import type { KubeClient, KubeObject, KubeResponse, Resource } from "./types.ts";
import { BrokenStreamError, type WatchEvent, watchEvents } from "./watch-events.ts";

export interface ReflectorOptions {
  kube: KubeClient;
  resource: Resource;
  namespace?: string | undefined;
  labelSelector?: string | undefined;
  fieldSelector?: string | undefined;
  logger: Logger;
  clock?: Clock | undefined;
  /** A stream without a byte for this long is dead; the API server sends a bookmark about each minute. */
  silenceLimitMs?: number | undefined;
  backoff?: { baseMs: number; maxMs: number } | undefined;
  random?: (() => number) | undefined;
}

/** Receives what the API server holds; none of its methods may throw. */
export interface ReflectorSink<T> {
  /** The whole collection as of now. */
  replace(objects: T[]): void;
  upsert(object: T): void;
  remove(object: T): void;
  /** The API server gave a sign of life: the sink equals the collection at this resourceVersion. */
  alive(version: string | undefined): void;
  /** The collection could not be followed; it will be tried again. */
  failed(why: string): void;
}

/** With the time for a new connection below a minute and a half. */
const SILENCE_LIMIT_MS = 80_000;
/** 0.8 to 30 s, doubling, the upper half of each delay random. */
const BACKOFF = { baseMs: 1600, maxMs: 30_000 };
const PAGE_SIZE = 500;
/**
 * A watch that ended sooner than this counts as a failure, else a server that hangs up at once is hammered. After one that
 * lived longer the next begins at once, whatever ended it.
 */
const SHORT_WATCH_MS = 1000;
const INITIAL_EVENTS_END = "k8s.io/initial-events-end";

/** Keeps `sink` equal to one collection until `signal` aborts. Never rejects. */
export async function reflect<T extends KubeObject>(
  options: ReflectorOptions,
  sink: ReflectorSink<T>,
  signal: AbortSignal,
): Promise<void> {
  await new Reflector(options, sink, signal).run();
}

/**
 * One loop, one stream at a time: a stream is ended before the next one begins, so nothing late reaches the sink.
 * `#version` is where the next watch begins; undefined = list first.
 */
class Reflector<T extends KubeObject> {
  readonly #options: ReflectorOptions;
  readonly #sink: ReflectorSink<T>;
  readonly #signal: AbortSignal;
  readonly #clock: Clock;
  #version: string | undefined;
  /** In a row; -1 = the last watch lived. */
  #failures = 0;
  /** When the API server accepted the watch that runs or ran last. */
  #acceptedMs = Number.POSITIVE_INFINITY;
  /** Whether this server streams lists; false after it refused once. */
  #streamsLists = true;

  constructor(options: ReflectorOptions, sink: ReflectorSink<T>, signal: AbortSignal) {
    this.#options = options;
    this.#sink = sink;
    this.#signal = signal;
    this.#clock = options.clock ?? systemClock;
  }

  async run(): Promise<void> {
    while (!this.#signal.aborted) {
      try {
        await this.#once();
      } catch (error) {
        if (this.#signal.aborted) return;
        await this.#recover(error);
      }
    }
  }

  /** Lists where needed, then watches until the stream ends. */
  async #once(): Promise<void> {
    if (this.#version === undefined && !this.#streamsLists) await this.#list();
    const startedMs = this.#clock.monotonicMs();
    const lived = () => this.#clock.monotonicMs() - startedMs;
    try {
      await this.#watch();
    } finally {
      if (this.#clock.monotonicMs() - this.#acceptedMs >= SHORT_WATCH_MS) this.#failures = -1;
    }
    if (lived() < SHORT_WATCH_MS) throw new Error("the watch ended at once");
  }

  /** Pages through the collection and replaces the sink's content. */
  async #list(): Promise<void> {
    const { kube, resource } = this.#options;
    const objects: T[] = [];
    let next: string | undefined;
    let version: string;
    do {
      const page = await kube.list<T>(resource, {
        ...this.#selection(),
        limit: PAGE_SIZE,
        ...(next ? { continue: next } : {}),
      });
      objects.push(...page.items);
      version = page.resourceVersion;
      next = page.continue;
    } while (next && !this.#signal.aborted);
    if (this.#signal.aborted) return;
    this.#sink.replace(objects);
    this.#progress(version);
  }

  /** One watch request, until the server ends it. */
  async #watch(): Promise<void> {
    this.#acceptedMs = Number.POSITIVE_INFINITY;
    const abort = new AbortController();
    const signal = AbortSignal.any([this.#signal, abort.signal]);
    const alarm = new SilenceAlarm(this.#clock, this.#silenceLimitMs(), abort);
    try {
      const answer = await this.#request(signal);
      if (answer.status >= 300) throw await failureOf(this.#label(), answer);
      this.#acceptedMs = this.#clock.monotonicMs();
      if (this.#version !== undefined) this.#sink.alive(this.#version);
      await this.#consume(alarm.listen(answer.body));
    } catch (error) {
      throw abort.signal.aborted ? abort.signal.reason : error;
    } finally {
      alarm.stop();
      abort.abort();
    }
  }

  #request(signal: AbortSignal): Promise<KubeResponse> {
    const { kube, resource, namespace, random = Math.random } = this.#options;
    const { namespace: _, ...selectors } = this.#selection();
    const start =
      this.#version === undefined
        ? { sendInitialEvents: true, resourceVersionMatch: "NotOlderThan" }
        : { resourceVersion: this.#version };
    return kube.request("GET", collectionPath(resource, namespace), {
      query: {
        ...selectors,
        ...start,
        watch: true,
        allowWatchBookmarks: true,
        timeoutSeconds: Math.round(300 + 300 * random()),
      },
      signal,
      timeoutMs: 0,
    });
  }

  async #consume(body: AsyncIterable<Buffer>): Promise<void> {
    let initial: T[] | undefined = this.#version === undefined ? [] : undefined;
    for await (const event of watchEvents<T>(body)) {
      if (this.#signal.aborted) return;
      if (event.type === "ERROR") throw errorOf(this.#label(), event.object);
      if (!initial) this.#apply(event);
      else if (event.type === "ADDED") initial.push(event.object);
      else if (isInitialEnd(event)) {
        this.#sink.replace(initial);
        initial = undefined;
        this.#progress(event.object.metadata.resourceVersion);
      } else break;
    }
    // A server that does not know streamed lists ends like this, or sends other events first.
    if (initial) throw new NoStreamedListError("Unavailable", "the server streams no lists");
  }

  #apply(event: Exclude<WatchEvent<T>, { type: "ERROR" }>): void {
    if (event.type === "ADDED" || event.type === "MODIFIED") this.#sink.upsert(event.object);
    else if (event.type === "DELETED") this.#sink.remove(event.object);
    this.#progress(event.object.metadata.resourceVersion);
  }

  #progress(version: string | undefined): void {
    this.#version = version;
    this.#failures = 0;
    this.#sink.alive(version);
  }

  /** Decides where to go on after a failure, then waits: the back-off or what the server asked for. */
  async #recover(error: unknown): Promise<void> {
    if (this.#version === undefined && isRefusal(error)) this.#streamsLists = false;
    const relist = isExpired(error) || error instanceof BrokenStreamError || isRefusal(error);
    if (relist) this.#version = undefined;
    const retryAfterMs = error instanceof KubeError ? (error.retryAfterMs ?? 0) : 0;
    const { backoff = BACKOFF, random } = this.#options;
    const own = backoffMs(Math.max(0, this.#failures), { ...backoff, jitter: 0.5 }, random);
    // After a healthy time there is nothing to wait for.
    const atOnce = this.#failures < 0 || (relist && this.#failures === 0);
    const delayMs = atOnce ? retryAfterMs : Math.max(own, retryAfterMs);
    this.#failures += 1;
    this.#report(error, { delayMs, relist });
    await this.#clock.sleep(delayMs, this.#signal).catch(() => undefined);
  }

  #report(error: unknown, next: { delayMs: number; relist: boolean }): void {
    const { logger, resource } = this.#options;
    const why = errorMessage(error);
    this.#sink.failed(why);
    // A missing right comes back by itself only when somebody gives it.
    const loud = this.#failures > 3 || (this.#failures === 1 && isKubeError(error, 403));
    const fields = { resource: resource.plural, error: why, ...next };
    logger[loud ? "warn" : "debug"](fields, "watch interrupted");
  }

  #selection() {
    const { namespace, labelSelector, fieldSelector } = this.#options;
    return {
      ...(namespace ? { namespace } : {}),
      ...(labelSelector ? { labelSelector } : {}),
      ...(fieldSelector ? { fieldSelector } : {}),
    };
  }

  #silenceLimitMs(): number {
    return this.#options.silenceLimitMs ?? SILENCE_LIMIT_MS;
  }

  #label(): string {
    return `watch ${this.#options.resource.plural}`;
  }
}

/** Aborts a request that gave no byte for `limitMs`. */
class SilenceAlarm {
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  #lastByteMs: number;

  constructor(clock: Clock, limitMs: number, target: AbortController) {
    this.#clock = clock;
    this.#lastByteMs = clock.monotonicMs();
    // Ends with stop(), and then without an error.
    void this.#watchOver(limitMs, target).catch(() => undefined);
  }

  async *listen(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of body) {
      this.#lastByteMs = this.#clock.monotonicMs();
      yield chunk;
    }
  }

  stop(): void {
    this.#stop.abort();
  }

  async #watchOver(limitMs: number, target: AbortController): Promise<void> {
    for (;;) {
      const leftMs = this.#lastByteMs + limitMs - this.#clock.monotonicMs();
      if (leftMs <= 0) {
        target.abort(new Error(`no byte for ${limitMs} ms: the connection is dead`));
        return;
      }
      await this.#clock.sleep(leftMs, this.#stop.signal);
    }
  }
}

function isInitialEnd(event: { object: KubeObject }): boolean {
  return event.object.metadata.annotations?.[INITIAL_EVENTS_END] === "true";
}

class NoStreamedListError extends ArgusError {}

/** The server does not take the parameters of a streamed list, or does not know them. */
function isRefusal(error: unknown): boolean {
  return isKubeError(error, 422) || isKubeError(error, 400) || error instanceof NoStreamedListError;
}

function errorOf(
  call: string,
  answer: { code?: number; details?: { retryAfterSeconds?: number } },
) {
  const seconds = answer.details?.retryAfterSeconds;
  return new KubeError({
    call,
    status: answer.code ?? 500,
    answer,
    ...(seconds ? { retryAfterMs: seconds * 1000 } : {}),
  });
}
