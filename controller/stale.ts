import type { Informer, KubeObject } from "#cluster/types.ts";

/** Bookmarks come about each minute; a cache that heard nothing for longer may be behind. */
const STALE_MS = 120_000;

export function isStale(cache: Pick<Informer<KubeObject>, "silenceMs">): boolean {
  return cache.silenceMs() > STALE_MS;
}
