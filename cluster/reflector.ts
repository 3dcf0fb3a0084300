import { type Clock, systemClock } from "#lib/clock.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { isExpired, isKubeError } from "./kube-error.ts";
import type { KubeObject } from "./types.ts";
import { isAtLeast, isComparable } from "./versions.ts";
import { BrokenStreamError, ToldEvents } from "./watch-events.ts";
import { type Change, isInitialEnd, WatchLeg, type WatchOptions } from "./watch-leg.ts";

export interface ReflectorOptions extends WatchOptions {
  logger: Logger;
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

const PAGE_SIZE = 500;

/** Keeps `sink` equal to one collection until `signal` aborts. Never rejects. */
export async function reflect<T extends KubeObject>(
  options: ReflectorOptions,
  sink: ReflectorSink<T>,
  signal: AbortSignal,
): Promise<void> {
  await new Reflector(options, sink, signal).run();
}

/**
 * Two watches of the same collection on two connections: each begins where the sink stands and tells everything after it in
 * order, so whatever is newer than the sink is applied, whoever tells it first, and one of them may break unnoticed.
 * The first leg lists; the second runs only where it costs no connection of its own and versions can be compared.
 */
class Reflector<T extends KubeObject> {
  readonly #options: ReflectorOptions;
  readonly #sink: ReflectorSink<T>;
  readonly #signal: AbortSignal;
  readonly #clock: Clock;
  readonly #first: WatchLeg<T>;
  readonly #second: WatchLeg<T>;
  /** What the sink equals and where the next watch begins; undefined = list first. */
  #version: string | undefined;
  /** Ends the second leg when the list that it began with is not trusted any more. */
  #listEnd = new AbortController();
  #secondEnded: Promise<void> = Promise.resolve();
  /** Whether this server streams lists; false after it refused once. */
  #streamsLists = true;

  constructor(options: ReflectorOptions, sink: ReflectorSink<T>, signal: AbortSignal) {
    this.#options = options;
    this.#sink = sink;
    this.#signal = signal;
    this.#clock = options.clock ?? systemClock;
    const told = new ToldEvents<T>();
    this.#first = new WatchLeg(options, told, false);
    this.#second = new WatchLeg(options, told, true);
  }

  async run(): Promise<void> {
    await this.#keep(this.#first, this.#signal);
    await this.#secondEnded;
  }

  /** Lists where needed and watches, again and again. */
  async #keep(leg: WatchLeg<T>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        if (this.#version === undefined && !leg.standby) await this.#begin();
        await this.#watch(leg, signal);
      } catch (error) {
        if (!signal.aborted) await this.#recover(leg, error, signal);
      }
    }
  }

  /** Nothing late of an old list may reach the sink once a new one is asked for. */
  async #begin(): Promise<void> {
    await this.#secondEnded;
    if (!this.#streamsLists) await this.#list();
  }

  /** Pages through the collection and replaces the sink's content. */
  async #list(): Promise<void> {
    const { kube, resource, namespace, labelSelector, fieldSelector } = this.#options;
    const selection = {
      ...(namespace ? { namespace } : {}),
      ...(labelSelector ? { labelSelector } : {}),
      ...(fieldSelector ? { fieldSelector } : {}),
    };
    const objects: T[] = [];
    let next: string | undefined;
    let version: string;
    do {
      const more = next ? { continue: next } : {};
      const page = await kube.list<T>(resource, { ...selection, limit: PAGE_SIZE, ...more });
      objects.push(...page.items);
      version = page.resourceVersion;
      next = page.continue;
    } while (next && !this.#signal.aborted);
    if (!this.#signal.aborted) this.#listed(objects, version);
  }

  #listed(objects: T[], version: string): void {
    this.#sink.replace(objects);
    this.#progress(this.#first, version);
    if (!this.#options.kube.multiplexes?.() || !isComparable(version)) return;
    this.#listEnd = new AbortController();
    const signal = AbortSignal.any([this.#signal, this.#listEnd.signal]);
    this.#secondEnded = this.#keep(this.#second, signal);
  }

  /** One watch request, until the server ends it. */
  async #watch(leg: WatchLeg<T>, signal: AbortSignal): Promise<void> {
    const version = this.#version;
    const otherEndsAtMs = this.#other(leg).endsAtMs;
    const accepted = () => this.#accepted(version);
    let initial: T[] | undefined = version === undefined ? [] : undefined;
    for await (const event of leg.watch({ version, otherEndsAtMs }, accepted, signal)) {
      if (signal.aborted) return;
      if (!initial) this.#apply(leg, event);
      else if (event.type === "ADDED") initial.push(event.object);
      else if (isInitialEnd(event)) {
        this.#listed(initial, event.object.metadata.resourceVersion ?? "");
        initial = undefined;
      } else break;
    }
    // A server that does not know streamed lists ends like this, or sends other events first.
    if (initial) throw new NoStreamedListError("Unavailable", "the server streams no lists");
  }

  #accepted(version: string | undefined): void {
    if (version === undefined) return;
    if (this.#version === undefined)
      throw new BrokenStreamError("the list is not trusted any more");
    this.#sink.alive(this.#version);
  }

  /** What the other leg has told already is not told again. */
  #apply(leg: WatchLeg<T>, { type, object }: Change<T>): void {
    const version = object.metadata.resourceVersion ?? "";
    const news = !isAtLeast(this.#version, version);
    if (news && (type === "ADDED" || type === "MODIFIED")) this.#sink.upsert(object);
    else if (news && type === "DELETED") this.#sink.remove(object);
    this.#progress(leg, news ? version : this.#version);
  }

  #progress(leg: WatchLeg<T>, version: string | undefined): void {
    this.#version = version;
    leg.progressed();
    this.#sink.alive(version);
  }

  /** Decides where to go on after a failure, then waits. */
  async #recover(leg: WatchLeg<T>, error: unknown, signal: AbortSignal): Promise<void> {
    if (this.#version === undefined && isRefusal(error)) this.#streamsLists = false;
    const relist = isExpired(error) || error instanceof BrokenStreamError || isRefusal(error);
    // While the other leg follows the sink is right; a second time in a row tells that both stand too far behind.
    const both = !this.#other(leg).follows || (!leg.standby && leg.behind);
    if (relist && both) this.#distrust();
    leg.behind ||= relist;
    const delayMs = leg.pauseMs(error, { relist });
    leg.failures += 1;
    this.#report(leg, error, { delayMs, relist });
    await this.#clock.sleep(delayMs, signal).catch(() => undefined);
  }

  #distrust(): void {
    this.#version = undefined;
    this.#listEnd.abort(new Error("listed again"));
  }

  #report(leg: WatchLeg<T>, error: unknown, next: { delayMs: number; relist: boolean }): void {
    const { logger, resource } = this.#options;
    const why = errorMessage(error);
    if (!this.#other(leg).follows) this.#sink.failed(why);
    // A missing right comes back by itself only when somebody gives it.
    const loud = leg.failures > 3 || (leg.failures === 1 && isKubeError(error, 403));
    const { standby } = leg;
    const fields = { resource: resource.plural, standby, error: why, ...next };
    logger[loud ? "warn" : "debug"](fields, "watch interrupted");
  }

  #other(leg: WatchLeg<T>): WatchLeg<T> {
    return leg === this.#first ? this.#second : this.#first;
  }
}

class NoStreamedListError extends ArgusError {}

/** The server does not take the parameters of a streamed list, or does not know them. */
function isRefusal(error: unknown): boolean {
  return isKubeError(error, 422) || isKubeError(error, 400) || error instanceof NoStreamedListError;
}
