import type { Clock } from "#lib/clock.ts";
import { systemClock } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import type { Running } from "#lib/running.ts";
import { keyOf } from "./objects.ts";
import { type ReflectorOptions, type ReflectorSink, reflect } from "./reflector.ts";
import type { Informer, KubeClient, KubeObject, Resource } from "./types.ts";

export interface InformerOptions<T> extends Omit<ReflectorOptions, "kube" | "resource"> {
  /** Drops what nobody reads, before the object enters the cache. Without one `managedFields` are dropped. */
  transform?: (object: T) => T;
}

type Change = "added" | "updated" | "deleted";
type ChangeHandler<T> = (key: string, object: T, change: Change) => void;

/**
 * Starts a cache of one collection that follows the API server until `signal` aborts; `closed` resolves then.
 * An object that was deleted and made again under its name arrives as `deleted` and `added`, never as `updated`.
 */
export function startInformer<T extends KubeObject>(
  kube: KubeClient,
  resource: Resource,
  options: InformerOptions<T>,
  signal: AbortSignal,
): Informer<T> & Running {
  const cache = new Cache<T>(options, signal);
  const closed = reflect<T>({ ...options, kube, resource }, cache, signal);
  return {
    get: (key) => cache.objects.get(key),
    list: () => [...cache.objects.values()],
    synced: (waiting) => cache.synced(waiting),
    onChange: (handler) => cache.onChange(handler),
    silenceMs: () => cache.silenceMs(),
    version: () => cache.version,
    trouble: () => cache.trouble,
    closed,
  };
}

class Cache<T extends KubeObject> implements ReflectorSink<T> {
  readonly objects = new Map<string, T>();
  version: string | undefined;
  trouble: string | undefined;
  readonly #handlers = new Set<ChangeHandler<T>>();
  readonly #transform: (object: T) => T;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #synced = Promise.withResolvers<void>();
  #aliveAtMs: number;

  constructor(options: InformerOptions<T>, signal: AbortSignal) {
    this.#transform = options.transform ?? withoutManagedFields;
    this.#logger = options.logger;
    this.#clock = options.clock ?? systemClock;
    this.#aliveAtMs = this.#clock.monotonicMs();
    // Nobody may be waiting; whoever is gets the rejection from his own race.
    this.#synced.promise.catch(() => undefined);
    const stop = () => this.#synced.reject(signal.reason);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  }

  replace(objects: T[]): void {
    const gone = new Map(this.objects);
    for (const object of objects) {
      this.upsert(object);
      gone.delete(keyOf(object));
    }
    for (const object of gone.values()) this.remove(object);
    this.#synced.resolve();
  }

  upsert(object: T): void {
    const next = this.#transform(object);
    const key = keyOf(next);
    const old = this.objects.get(key);
    if (old && old.metadata.uid !== next.metadata.uid) {
      this.objects.delete(key);
      this.#tell(key, old, "deleted");
    } else if (old && old.metadata.resourceVersion === next.metadata.resourceVersion) {
      return;
    }
    const change = this.objects.has(key) ? "updated" : "added";
    this.objects.set(key, next);
    this.#tell(key, next, change);
  }

  remove(object: T): void {
    const key = keyOf(object);
    const old = this.objects.get(key);
    if (!old) return;
    this.objects.delete(key);
    this.#tell(key, old, "deleted");
  }

  alive(version: string | undefined): void {
    this.trouble = undefined;
    this.version = version;
    this.#aliveAtMs = this.#clock.monotonicMs();
  }

  failed(why: string): void {
    this.trouble = why;
  }

  silenceMs(): number {
    return this.#clock.monotonicMs() - this.#aliveAtMs;
  }

  onChange(handler: ChangeHandler<T>): () => void {
    this.#handlers.add(handler);
    return () => this.#handlers.delete(handler);
  }

  async synced(signal?: AbortSignal): Promise<void> {
    if (!signal) return await this.#synced.promise;
    signal.throwIfAborted();
    const aborted = Promise.withResolvers<never>();
    const stop = () => aborted.reject(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    try {
      await Promise.race([this.#synced.promise, aborted.promise]);
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  #tell(key: string, object: T, change: Change): void {
    for (const handler of this.#handlers) {
      try {
        handler(key, object, change);
      } catch (error) {
        this.#logger.error({ key, change, error: errorMessage(error) }, "change handler failed");
      }
    }
  }
}

function withoutManagedFields<T extends KubeObject>(object: T): T {
  if (!object.metadata.managedFields) return object;
  const { managedFields: _, ...metadata } = object.metadata;
  return { ...object, metadata };
}
