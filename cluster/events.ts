import { createHash } from "node:crypto";
import { type Clock, systemClock } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { events } from "./resources.ts";
import type { KubeClient, KubeObject } from "./types.ts";

export interface EventRecorderOptions {
  kube: KubeClient;
  /** Who reports, for example `argus-controller`. */
  component: string;
  logger: Logger;
  clock?: Clock;
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d+Z$/, "Z");
}

/** What happened, in words. */
export interface Told {
  type?: "Normal" | "Warning";
  reason: string;
  message: string;
}

const NEW_SERIES = { count: 1, tokens: 0, refilledMs: 0 };

interface Series {
  count: number;
  firstMs: number;
  /** Writes that this object may still cause; grows by one per refill. */
  tokens: number;
  refilledMs: number;
  /** Digests of the messages of one reason. */
  messages?: Set<string>;
}

/** Objects and events that are remembered; the oldest is forgotten. */
const MAX_SERIES = 1000;
const SERIES_MS = 10 * 60_000;
const BURST = 25;
const REFILL_MS = 5 * 60_000;
const MAX_MESSAGE_LENGTH = 1024;
/** Events that wait to be written. */
const MAX_WAITING = 1000;
/** Different messages of one reason within a series; what comes after them is told as one event. */
const MAX_SIMILAR = 10;

/**
 * Tells people what happened to an object, as `kubectl describe` shows it. Repeats within 10 min raise the count of one event;
 * an object causes at most 25 writes at once and one per 5 min after them. Nobody waits for an event and none fails anybody: it
 * is a hint, not a fact. They are written one after the other.
 */
export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #clock: Clock;
  readonly #series = new Map<string, Series>();
  readonly #waiting = new Map<string, KubeObject>();
  #writing: Promise<void> | undefined;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  record(object: KubeObject, told: Told): void {
    const uid = object.metadata.uid ?? "";
    const { reason, message } = told;
    const similar = this.#similar(`${uid}/${reason}`, message);
    const text = `${similar ? "(combined from similar events) " : ""}${message}`;
    const key = digest(similar ? `${uid}/${reason}` : `${uid}/${reason}/${message}`);
    const seen = this.#count(key);
    if (!this.#allowed(uid)) return;
    this.#wait(this.#eventOf(object, { ...told, message: text }, { key, seen }));
  }

  /** Resolves when no event waits any more. */
  async flushed(): Promise<void> {
    await this.#writing;
  }

  /** One that still waits is replaced: the newer one has its count. */
  #wait(event: KubeObject): void {
    const name = `${event.metadata.namespace}/${event.metadata.name}`;
    this.#waiting.delete(name);
    this.#waiting.set(name, event);
    const [oldest] = this.#waiting.keys();
    if (this.#waiting.size > MAX_WAITING && oldest !== undefined) this.#waiting.delete(oldest);
    this.#writing ??= this.#writeAll().finally(() => {
      this.#writing = undefined;
    });
  }

  async #writeAll(): Promise<void> {
    const { kube, component, logger } = this.#options;
    for (const [name, event] of this.#waiting) {
      this.#waiting.delete(name);
      try {
        await kube.apply(events, event, { fieldManager: component, force: true });
      } catch (error) {
        logger.debug({ event: name, error: errorMessage(error) }, "event not recorded");
      }
    }
  }

  #eventOf(
    object: KubeObject,
    { type = "Normal", reason, message }: Told,
    { key, seen }: { key: string; seen: Series },
  ): KubeObject {
    const { name, namespace = "default", uid } = object.metadata;
    const { component } = this.#options;
    const { apiVersion, kind } = object;
    const event = {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name: `${name}.${key}.${seen.firstMs.toString(36)}`, namespace },
      involvedObject: { apiVersion, kind, name, namespace, uid },
      type,
      reason,
      message: message.slice(0, MAX_MESSAGE_LENGTH),
      source: { component },
      reportingComponent: component,
      count: seen.count,
      firstTimestamp: timeOf(seen.firstMs),
      lastTimestamp: timeOf(this.#clock.now()),
    };
    return event;
  }

  /** Whether there were many other messages of this reason lately. */
  #similar(group: string, message: string): boolean {
    const known = this.#series.get(`similar/${group}`);
    const fresh = known !== undefined && this.#clock.now() - known.firstMs < SERIES_MS;
    const firstMs = fresh ? known.firstMs : this.#clock.now();
    const messages = new Set(fresh ? known.messages : []);
    const full = messages.size >= MAX_SIMILAR && !messages.has(digest(message));
    if (!full) messages.add(digest(message));
    this.#remember(`similar/${group}`, { ...NEW_SERIES, firstMs, messages });
    return full;
  }

  #count(key: string): Series {
    const nowMs = this.#clock.now();
    const old = this.#series.get(key);
    const fresh = old !== undefined && nowMs - old.firstMs < SERIES_MS;
    const next = fresh
      ? { ...old, count: old.count + 1 }
      : { count: 1, firstMs: nowMs, tokens: 0, refilledMs: nowMs };
    return this.#remember(key, next);
  }

  #allowed(uid: string): boolean {
    const nowMs = this.#clock.now();
    const old = this.#series.get(uid) ?? {
      count: 0,
      firstMs: nowMs,
      tokens: BURST,
      refilledMs: nowMs,
    };
    const refills = Math.floor((nowMs - old.refilledMs) / REFILL_MS);
    const tokens = Math.min(BURST, old.tokens + refills);
    const refilledMs = old.refilledMs + refills * REFILL_MS;
    this.#remember(uid, { ...old, tokens: Math.max(0, tokens - 1), refilledMs });
    return tokens > 0;
  }

  /** Moves the entry to the young end; the oldest falls out at the bound. */
  #remember(key: string, series: Series): Series {
    this.#series.delete(key);
    this.#series.set(key, series);
    const [oldest] = this.#series.keys();
    if (this.#series.size > MAX_SERIES && oldest !== undefined) this.#series.delete(oldest);
    return series;
  }
}
