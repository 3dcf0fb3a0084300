import { expect, test } from "vitest";
import type { ArgusSession } from "#crds/kinds.ts";
import type { LaneContext } from "#gateway/context.ts";
import { Lanes } from "#gateway/lanes/lanes.ts";
import { MemoryStore } from "#test/fakes/memory-store.ts";

const session = (uid: string) => ({ metadata: { name: "main", uid } }) as ArgusSession;

test.for<[string, ArgusSession | undefined]>([
  ["is gone", undefined],
  ["was made again", session("new")],
])(
  "a client that still holds a session that %s cannot bring its document back",
  async ([, now]) => {
    const store = new MemoryStore();
    const stop = new AbortController();
    const directory = { find: () => Promise.resolve(now), session: () => now };
    const keeper = { guard: () => Promise.resolve() };
    const context = { directory, keeper, signal: stop.signal } as unknown as LaneContext;
    const lanes = new Lanes(store, context);
    await expect(lanes.of(session("old"))).rejects.toMatchObject({ code: "NotFound" });
    stop.abort();
    await lanes.closed;
    expect(await store.list()).toEqual([]);
  },
);
