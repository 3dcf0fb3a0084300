import { expect } from "vitest";
import type { Case } from "../kubernetes.ts";
import { configMap, type Json, textOf, type WatchEvent, widget } from "./tools.ts";

const short = (events: WatchEvent[]) =>
  events.map(({ type, object }) => `${type} ${textOf(object.metadata?.name)}`.trim());
const count = (wanted: number) => (events: WatchEvent[]) => events.length >= wanted;
const versionOf = (body: Json) => textOf(body.metadata?.resourceVersion);

export function watchCases(add: Case): void {
  add("watch without a version starts with what is there", async (t) => {
    const path = await t.widgets();
    await t.post(path, widget("a"));
    const { events } = await t.watch(`${path}?watch=true`, count(2), () =>
      t.post(path, widget("b")),
    );
    expect(short(events)).toEqual(["ADDED a", "ADDED b"]);
  });

  add("watch from a version replays what came after it", async (t) => {
    const path = await t.widgets();
    const version = versionOf((await t.post(path, widget("a"))).body);
    await t.patch(`${path}/a`, "merge", { spec: { size: 5 } });
    await t.delete(`${path}/a`);
    const { events } = await t.watch(`${path}?watch=true&resourceVersion=${version}`, count(2));
    expect(short(events)).toEqual(["MODIFIED a", "DELETED a"]);
    expect(Number(versionOf(events[1]?.object as Json))).toBeGreaterThan(
      Number(versionOf(events[0]?.object as Json)),
    );
  });

  add("a label selector turns changes into births and ends", async (t) => {
    const ns = await t.namespace();
    const path = `/api/v1/namespaces/${ns}/configmaps`;
    const version = versionOf((await t.get(path)).body);
    await t.post(path, configMap("c"));
    await t.patch(`${path}/c`, "merge", { metadata: { labels: { x: "1" } } });
    await t.patch(`${path}/c`, "merge", { metadata: { labels: { x: null } } });
    const { events } = await t.watch(
      `${path}?watch=true&labelSelector=x&resourceVersion=${version}`,
      count(2),
    );
    expect(short(events)).toEqual(["ADDED c", "DELETED c"]);
  });

  add("a field selector watches one object", async (t) => {
    const path = await t.widgets();
    const version = versionOf((await t.get(path)).body);
    await t.post(path, widget("a"));
    await t.post(path, widget("b"));
    const query = `watch=true&fieldSelector=metadata.name%3Db&resourceVersion=${version}`;
    expect(short((await t.watch(`${path}?${query}`, count(1))).events)).toEqual(["ADDED b"]);
  });

  add("the watch ends by its timeout, with a bookmark", async (t) => {
    const path = await t.widgets();
    const { events } = await t.watch(
      `${path}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true`,
      () => false,
    );
    const last = events.at(-1);
    expect(last?.type).toBe("BOOKMARK");
    expect(last?.object.kind).toBe("Widget");
    expect(Number(versionOf(last?.object as Json))).toBeGreaterThan(0);
  });

  add("sendInitialEvents streams the list and marks its end", async (t) => {
    const path = await t.widgets();
    await t.post(path, widget("a"));
    const query =
      "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    const { events } = await t.watch(
      `${path}?${query}`,
      (seen) => seen.at(-1)?.type === "BOOKMARK",
    );
    expect(short(events)[0]).toBe("ADDED a");
    expect(events.at(-1)?.object.metadata?.annotations?.["k8s.io/initial-events-end"]).toBe("true");
  });

  add("sendInitialEvents without resourceVersionMatch is 422", async (t) => {
    expect((await t.get("/api/v1/pods?watch=true&sendInitialEvents=true")).status).toBe(422);
  });

  add("a table can be watched", async (t) => {
    const path = await t.widgets();
    await t.post(path, widget("a"));
    const accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    const { text } = await t.get(`${path}?watch=true&timeoutSeconds=1`, { accept });
    const [event] = text
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line));
    expect(event).toMatchObject({ type: "ADDED", object: { kind: "Table" } });
    expect(event.object.rows[0].cells[0]).toBe("a");
  });
}
