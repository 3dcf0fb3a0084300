import { afterEach, expect, test } from "vitest";
import { createKubeClient } from "#cluster/client.ts";
import { startInformer } from "#cluster/informer.ts";
import { configMaps } from "#cluster/resources.ts";
import type { KubeObject } from "#cluster/types.ts";
import { silentLogger } from "#lib/logger.ts";
import { eventually } from "../../support/eventually.ts";
import { type Fault, FaultyApiServer } from "../../support/faulty-api-server.ts";
import { settled } from "../../support/manual-clock.ts";

const logger = silentLogger();
const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function start(prepare: (server: FaultyApiServer) => void = () => undefined) {
  const server = await FaultyApiServer.start();
  ends.push(() => server.close());
  prepare(server);
  const kube = await createKubeClient({ kubeconfig: await server.kubeconfig(), logger });
  ends.push(() => kube.close());
  const abort = new AbortController();
  const informer = startInformer<KubeObject>(
    kube,
    configMaps,
    { namespace: "work", logger, silenceLimitMs: 400, backoff: { baseMs: 10, maxMs: 80 } },
    abort.signal,
  );
  const changes: string[] = [];
  informer.onChange((key, object, change) =>
    changes.push(`${change} ${key} ${object.metadata.uid}`),
  );
  ends.push(async () => {
    abort.abort();
    await informer.closed;
  });
  return { server, kube, informer, changes, abort };
}

type Started = Awaited<ReturnType<typeof start>>;

/** Whether the cache holds exactly what the server holds. */
async function equal({ server, informer }: Started): Promise<void> {
  const wanted = () =>
    [...server.objects.values()].map(
      ({ metadata }) => `${metadata.name}@${metadata.resourceVersion}`,
    );
  const found = () =>
    informer.list().map(({ metadata }) => `${metadata.name}@${metadata.resourceVersion}`);
  await eventually(
    "the cache equals the server",
    () => JSON.stringify(wanted().sort()) === JSON.stringify(found().sort()),
    10_000,
  );
}

test("a streamed list and its watch need one request", async () => {
  const all = await start((server) => {
    for (let i = 0; i < 20; i += 1) server.put(`map-${i}`, { i: String(i) });
  });
  await all.informer.synced();
  expect(all.informer.list()).toHaveLength(20);
  all.server.put("late", {});
  await equal(all);
  expect(all.server.requests).toHaveLength(1);
  expect(all.informer.version()).toBe(String(all.server.version));
});

test("a server without streamed lists is listed in pages, at once", async () => {
  const all = await start((server) => {
    server.refusesStreamedLists = true;
    for (let i = 0; i < 1201; i += 1) server.put(`map-${i}`, {});
  });
  await all.informer.synced();
  expect(all.informer.list()).toHaveLength(1201);
  expect(all.server.requests.filter(({ query }) => query.has("limit"))).toHaveLength(3);
  all.server.put("late", {});
  await equal(all);
});

test("watch timeouts are random between five and ten minutes and bookmarks are asked for", async () => {
  const { server, informer } = await start();
  await informer.synced();
  const query = server.requests[0]?.query;
  expect(Number(query?.get("timeoutSeconds"))).toBeGreaterThanOrEqual(300);
  expect(Number(query?.get("timeoutSeconds"))).toBeLessThanOrEqual(600);
  expect(query?.get("allowWatchBookmarks")).toBe("true");
});

const FAULTS: [string, Fault][] = [
  ["429 with Retry-After", { status: 429, retryAfterSeconds: 1 }],
  ["500", { status: 500 }],
  ["503", { status: 503 }],
  ["403", { status: 403, reason: "Forbidden" }],
  ["410", { status: 410, reason: "Expired" }],
  [
    "a version above the server's",
    { status: 504, causes: [{ reason: "ResourceVersionTooLarge" }] },
  ],
  ["an end at once", { cut: "end" }],
  ["a reset", { cut: "reset" }],
  ["a half-open connection", { silent: true }],
  ["an ERROR event with 410", { event: "gone" }],
  ["a line that is not JSON", { line: "{broken\n" }],
  ["a line that is not an event", { line: '{"type":"NEW"}\n' }],
];

test.each(FAULTS)("after %s on the first watch the cache is right again", async (_, fault) => {
  const all = await start((server) => {
    server.watchFaults = [fault];
    server.put("early", {});
  });
  all.server.put("later", {});
  await all.informer.synced();
  await equal(all);
});

test.each(FAULTS)("after %s on a running watch the cache is right again", async (_, fault) => {
  const all = await start((server) => server.put("early", {}));
  await all.informer.synced();
  all.server.watchFaults = [fault, fault];
  all.server.cut("reset");
  all.server.put("early", { changed: "yes" });
  all.server.put("missed", {});
  await equal(all);
});

test("lists that fail are tried again until one holds", async () => {
  const all = await start((server) => {
    server.refusesStreamedLists = true;
    server.put("one", {});
    server.listFaults = [{ status: 500 }, { status: 429, retryAfterSeconds: 1 }, { cut: "reset" }];
  });
  await all.informer.synced();
  await equal(all);
});

test("Retry-After is waited for", async () => {
  const { server, informer } = await start((server) => {
    server.watchFaults = [{ status: 429, retryAfterSeconds: 1 }];
  });
  await informer.synced();
  const [first, second] = server.requests;
  expect((second?.atMs ?? 0) - (first?.atMs ?? 0)).toBeGreaterThanOrEqual(990);
});

test("what was deleted and made again while nobody watched arrives as deleted and added", async () => {
  const all = await start((server) => server.put("map", {}));
  await all.informer.synced();
  const oldUid = all.informer.get("work/map")?.metadata.uid;
  all.server.watchFaults = [{ status: 410, reason: "Expired" }];
  all.server.cut("end");
  all.server.remove("map");
  all.server.put("map", {});
  await equal(all);
  const newUid = all.informer.get("work/map")?.metadata.uid;
  expect(newUid).not.toBe(oldUid);
  expect(all.changes).toEqual([
    `added work/map ${oldUid}`,
    `deleted work/map ${oldUid}`,
    `added work/map ${newUid}`,
  ]);
});

test("what changed before history was compacted is found by listing again", async () => {
  const all = await start((server) => {
    server.put("removed", {});
    server.put("changed", {});
  });
  await all.informer.synced();
  all.server.cut("reset");
  all.server.remove("removed");
  all.server.put("changed", { now: "this" });
  all.server.put("made", {});
  all.server.compact();
  await equal(all);
  expect(all.changes.at(-1)).toMatch(/^deleted work\/removed/);
});

test("a broken line makes the cache be listed again, not only watched", async () => {
  const all = await start((server) => server.put("map", {}));
  await all.informer.synced();
  all.server.inject("{broken\n");
  await eventually("a new list", () => all.server.requests.length === 2, 5000);
  expect(all.server.requests[1]?.query.get("sendInitialEvents")).toBe("true");
});

test("a relist tells nothing about objects that did not change", async () => {
  const all = await start((server) => server.put("same", {}));
  await all.informer.synced();
  all.server.watchFaults = [{ status: 410, reason: "Expired" }];
  all.server.cut("end");
  all.server.put("new", {});
  await equal(all);
  expect(all.changes.filter((change) => change.includes("same"))).toHaveLength(1);
});

test("a connection that says nothing is given up and replaced", async () => {
  const all = await start();
  await all.informer.synced();
  await eventually("a second watch", () => all.server.requests.length >= 2, 5000);
  all.server.put("later", {});
  await equal(all);
});

test("bookmarks move the version and keep the connection", async () => {
  const { server, informer } = await start();
  await informer.synced();
  const untilMs = performance.now() + 900;
  await eventually("more than two limits of silence", () => {
    server.bookmark();
    return performance.now() > untilMs;
  });
  expect(server.requests).toHaveLength(1);
  expect(informer.silenceMs()).toBeLessThan(400);
});

test.each([1, 2, 3, 5, 7])(
  "events that arrive in pieces of %i bytes are read whole",
  async (bytes) => {
    const all = await start((server) => {
      server.pieceBytes = bytes;
      server.put("früh", { text: "日本語 \u2028 👩‍💻" });
    });
    await all.informer.synced();
    for (let i = 0; i < 5; i += 1) all.server.put(`später-${i}`, { text: "ünïcödé\u0085" });
    await equal(all);
    expect(all.informer.get("work/früh")).toMatchObject({ data: { text: "日本語 \u2028 👩‍💻" } });
  },
);

test("through random faults the final cache equals the server", async () => {
  const all = await start((server) => server.put("seed", {}));
  await all.informer.synced();
  let state = 12345;
  const random = (below: number) => {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    return state % below;
  };
  const quick = FAULTS.filter(([name]) => !/Retry-After|half-open/.test(name));
  for (let round = 0; round < 150; round += 1) {
    const name = `map-${random(12)}`;
    if (random(4) === 0) all.server.remove(name);
    else all.server.put(name, { round: String(round) });
    const what = random(6);
    if (what === 0) all.server.cut(random(2) ? "end" : "reset");
    if (what === 1) all.server.compact();
    if (what === 2) all.server.inject("garbage\n");
    const fault = quick[random(quick.length)]?.[1];
    if (what === 3 && fault) all.server.watchFaults.push(fault);
    for (let turn = random(40); turn > 0; turn -= 1) await settled();
  }
  all.server.watchFaults = [];
  await equal(all);
  // And the stream that it ended on is a live one.
  all.server.put("last", {});
  await equal(all);
});

test("after the stop nothing is told any more and no stream stays open", async () => {
  const { server, informer, changes, abort } = await start();
  await informer.synced();
  abort.abort(new Error("stop"));
  await informer.closed;
  server.put("late", {});
  await eventually("no open stream", () => server.openStreams === 0, 5000);
  expect(changes).toEqual([]);
});

test("waiting for the first list ends with the process", async () => {
  const { informer, abort } = await start((server) => {
    server.watchFaults = [{ silent: true }];
  });
  const synced = informer.synced();
  abort.abort(new Error("stop"));
  await expect(synced).rejects.toThrow("stop");
});

test("a handler that throws harms neither the cache nor the others", async () => {
  const all = await start();
  all.informer.onChange(() => {
    throw new Error("defect");
  });
  const later: string[] = [];
  all.informer.onChange((key) => later.push(key));
  await all.informer.synced();
  all.server.put("map", {});
  await equal(all);
  expect(later).toEqual(["work/map"]);
});
