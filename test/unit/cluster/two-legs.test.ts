import { setImmediate as turn } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { startInformer } from "#cluster/informer.ts";
import { configMaps } from "#cluster/resources.ts";
import type { KubeClient, KubeObject, KubeResponse, RequestOptions } from "#cluster/types.ts";
import { silentLogger } from "#lib/logger.ts";
import { eventually } from "../../support/eventually.ts";

/** A watch that was asked for, in the hand of the test. */
class Asked {
  readonly query: NonNullable<RequestOptions["query"]>;
  readonly standby: boolean;
  readonly answer = Promise.withResolvers<KubeResponse>();
  readonly #lines: string[] = [];
  #wake = Promise.withResolvers<void>();
  #end = false;
  readonly #signal: AbortSignal | undefined;

  constructor({ query = {}, standby = false, signal }: RequestOptions) {
    this.query = query;
    this.standby = standby;
    this.#signal = signal;
    signal?.addEventListener("abort", () => {
      this.answer.reject(signal.reason);
      this.#wake.resolve();
    });
  }

  get aborted(): boolean {
    return this.#signal?.aborted ?? false;
  }

  accept(): this {
    const body = Object.assign(this.#body(), { json: async () => ({}), dump: async () => {} });
    this.answer.resolve({ status: 200, headers: {}, body });
    return this;
  }

  refuse(status: number): void {
    const text = { kind: "Status", code: status, reason: "Expired" };
    const body = Object.assign(this.#body(), { json: async () => text, dump: async () => {} });
    this.answer.resolve({ status, headers: {}, body });
  }

  tell(type: string, version: string, name = "", annotations = {}): this {
    const metadata = { name, namespace: "n", uid: name, resourceVersion: version, annotations };
    return this.line(`${JSON.stringify({ type, object: { metadata } })}\n`);
  }

  line(text: string): this {
    this.#lines.push(text);
    this.#wake.resolve();
    return this;
  }

  listed(version: string): this {
    return this.tell("BOOKMARK", version, "", { "k8s.io/initial-events-end": "true" });
  }

  cut(): void {
    this.#end = true;
    this.#wake.resolve();
  }

  async *#body(): AsyncGenerator<Buffer> {
    for (;;) {
      const line = this.#lines.shift();
      if (line) yield Buffer.from(line);
      else if (this.#end) throw new Error("cut");
      else if (this.#signal?.aborted) throw this.#signal.reason;
      else await this.#wake.promise;
      if (this.#lines.length === 0) this.#wake = Promise.withResolvers();
    }
  }
}

const stops: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop();
});

function start() {
  const asked: Asked[] = [];
  const kube: Pick<KubeClient, "request" | "multiplexes"> = {
    request: (_method, _path, options = {}) => {
      const next = new Asked(options);
      asked.push(next);
      return next.answer.promise;
    },
    multiplexes: () => true,
  };
  const abort = new AbortController();
  const informer = startInformer<KubeObject>(
    kube as KubeClient,
    configMaps,
    { logger: silentLogger(), backoff: { baseMs: 1, maxMs: 2 } },
    abort.signal,
  );
  stops.push(async () => {
    abort.abort(new Error("over"));
    await informer.closed;
  });
  const told: string[] = [];
  informer.onChange((_, { metadata }, change) =>
    told.push(`${change} ${metadata.name}@${metadata.resourceVersion}`),
  );
  const request = (number: number) => eventually(`request ${number}`, () => asked[number], 2000);
  return { asked, informer, told, request };
}

async function both() {
  const all = start();
  const first = (await all.request(0)).accept().tell("ADDED", "5", "a").listed("10");
  const second = (await all.request(1)).accept();
  await eventually("the list", () => all.informer.version() === "10");
  return { ...all, first, second };
}

async function settled(): Promise<void> {
  for (let turns = 0; turns < 20; turns += 1) await turn();
}

test("the second begins where the first stands, on its own connection", async () => {
  const { asked } = await both();
  expect(asked.map(({ standby }) => standby)).toEqual([false, true]);
  expect(asked[1]?.query.resourceVersion).toBe("10");
});

test("what one tells late is not told again, and nothing that was deleted comes back", async () => {
  const { first, second, told, informer } = await both();
  second.tell("ADDED", "11", "b").tell("DELETED", "12", "b").tell("MODIFIED", "13", "a");
  await eventually("13", () => informer.version() === "13");
  first.tell("ADDED", "11", "b");
  await settled();
  expect(informer.get("n/b")).toBeUndefined();
  expect(informer.version()).toBe("13");
  first.tell("DELETED", "12", "b").tell("MODIFIED", "13", "a").tell("ADDED", "14", "c");
  await eventually("14", () => informer.version() === "14");
  second.tell("ADDED", "14", "c");
  await settled();
  expect(told).toEqual(["added a@5", "added b@11", "deleted b@11", "updated a@13", "added c@14"]);
});

test("versions are compared as numbers", async () => {
  const { first, second, informer, told } = await both();
  first.tell("MODIFIED", "99", "a");
  await eventually("99", () => informer.version() === "99");
  second.tell("MODIFIED", "99", "a").tell("MODIFIED", "100", "a");
  await eventually("100", () => informer.version() === "100");
  expect(told.at(-1)).toBe("updated a@100");
});

test("a leg that finds its version too old begins where the other stands", async () => {
  const { first, second, request, informer, asked } = await both();
  first.cut();
  second.tell("ADDED", "20", "b");
  await eventually("20", () => informer.version() === "20");
  (await request(2)).refuse(410);
  const again = await request(3);
  expect(again.query).toMatchObject({ resourceVersion: "20" });
  expect(second.aborted).toBe(false);
  expect(asked.filter(({ query }) => query.sendInitialEvents)).toHaveLength(1);
});

test("too old twice in a row: listed again, and the other leg begins from that list", async () => {
  const { first, second, request, informer } = await both();
  first.cut();
  (await request(2)).refuse(410);
  (await request(3)).refuse(410);
  const list = (await request(4)).accept();
  expect(list.query.sendInitialEvents).toBe(true);
  expect(second.aborted).toBe(true);
  second.tell("MODIFIED", "500", "a");
  list.listed("30");
  const standby = await request(5);
  expect(standby.query.resourceVersion).toBe("30");
  expect(informer.version()).toBe("30");
  expect(informer.list()).toEqual([]);
});

test("a dial of the second from before a new list is not followed", async () => {
  const { first, second, request, informer } = await both();
  second.cut();
  const late = await request(2);
  first.line("garbage\n");
  const list = (await request(3)).accept();
  late.accept().tell("ADDED", "40", "ghost");
  list.listed("30");
  await eventually("the new list", () => informer.version() === "30");
  await settled();
  expect(informer.list()).toEqual([]);
});

test("an API server whose past changed is listed again", async () => {
  const { first, second, request, informer } = await both();
  second.cut();
  const away = await request(2);
  first.tell("MODIFIED", "4", "a");
  const list = (await request(3)).accept().listed("6");
  expect(list.query.sendInitialEvents).toBe(true);
  expect(away.aborted).toBe(true);
  await eventually("the new list", () => informer.version() === "6");
});

test("versions that are no numbers have one leg", async () => {
  const { asked, request, informer } = start();
  (await request(0)).accept().tell("ADDED", "x5", "a").listed("x10").tell("MODIFIED", "x3", "a");
  await eventually("the change", () => informer.version() === "x3");
  await settled();
  expect(asked).toHaveLength(1);
});
