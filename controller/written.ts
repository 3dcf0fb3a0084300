import type { Informer, KubeObject } from "#cluster/types.ts";
import { isAtLeast } from "#cluster/versions.ts";
import { type Clock, systemClock } from "#lib/clock.ts";

type Cache = Pick<Informer<KubeObject>, "get" | "version">;

interface Expectation {
  cache: Cache;
  untilMs: number;
  isMet: () => boolean;
}

/** A cache that does not show a write for longer than any watch may be silent is believed again after this time; names are the lock then. */
const EXPIRY_MS = 120_000;

/**
 * Read your writes: what a key wrote must be in the cache before the key is decided on again, else a lagging watch would make
 * things twice. Holds only the newest writes of each key, and nothing once they are seen.
 */
export class Written {
  readonly #clock: Clock;
  readonly #expected = new Map<string, Expectation[]>();

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  /** `object` is the API server's answer to a create, a patch or a status write. */
  wrote(key: string, cache: Cache, object: KubeObject): void {
    const version = object.metadata.resourceVersion ?? "";
    this.#expect(key, cache, () => isAtLeast(cache.version(), version));
  }

  /** `object` is not the newest version of the object any more, as a conflict told: the cache must show another one. */
  outdated(key: string, cache: Cache, objectKey: string, { metadata }: KubeObject): void {
    const isMet = () => cache.get(objectKey)?.metadata.resourceVersion !== metadata.resourceVersion;
    this.#expect(key, cache, isMet);
  }

  /** The object with this UID was deleted: it must go, or show that it is going. */
  deleted(key: string, cache: Cache, { objectKey, uid }: { objectKey: string; uid: string }): void {
    this.#expect(key, cache, () => {
      const seen = cache.get(objectKey)?.metadata;
      return seen?.uid !== uid || seen.deletionTimestamp !== undefined;
    });
  }

  /** Whether the caches show all that this key wrote. */
  isSeen(key: string): boolean {
    const nowMs = this.#clock.monotonicMs();
    const open = (this.#expected.get(key) ?? []).filter(
      ({ isMet, untilMs }) => untilMs > nowMs && !isMet(),
    );
    if (open.length === 0) this.#expected.delete(key);
    else this.#expected.set(key, open);
    return open.length === 0;
  }

  #expect(key: string, cache: Cache, isMet: () => boolean): void {
    const others = this.#expected.get(key) ?? [];
    const untilMs = this.#clock.monotonicMs() + EXPIRY_MS;
    this.#expected.set(key, [...others, { cache, untilMs, isMet }]);
  }
}
