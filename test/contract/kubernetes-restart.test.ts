import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { silentLogger } from "#lib/logger.ts";
import { startApiServer } from "#localcluster/api-server.ts";
import { configMap, Tools, textOf } from "./kubernetes/tools.ts";

/** What only the local server promises: its state, keys and versions outlive the process. */

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "argus-restart-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function start() {
  const stop = new AbortController();
  const logs = {
    async *read() {
      yield Buffer.alloc(0);
    },
  };
  const api = await startApiServer({ folder, port: 0, logger: silentLogger(), logs }, stop.signal);
  const server = `https://${api.host}:${api.port}`;
  const peer = { server, caPem: api.caPem, token: api.tokens.admin, kubeconfig: "" };
  const tools = new Tools(peer);
  const end = async () => {
    await tools.close();
    stop.abort();
    await api.closed;
  };
  return { api, tools, end };
}

const MAPS = "/api/v1/namespaces/default/configmaps";

test("objects, versions, tokens and certificate are the same after a restart", async () => {
  const first = await start();
  await first.tools.installDefinitions();
  const made = await first.tools.post(MAPS, configMap("a", { x: "1" }));
  await first.end();
  const second = await start();
  expect(second.api.caPem).toBe(first.api.caPem);
  expect(second.api.tokens).toEqual(first.api.tokens);
  const { body } = await second.tools.get(`${MAPS}/a`);
  expect(body).toEqual(made.body);
  const next = await second.tools.post(MAPS, configMap("b"));
  expect(Number(next.body.metadata?.resourceVersion)).toBeGreaterThan(
    Number(made.body.metadata?.resourceVersion),
  );
  expect((await second.tools.get("/apis/argus.dev/v1alpha1/argussessions")).status).toBe(200);
  await second.end();
});

test("a version from before the restart is 410, the last one goes on", async () => {
  const first = await start();
  const old = textOf((await first.tools.post(MAPS, configMap("a"))).body.metadata?.resourceVersion);
  await first.tools.post(MAPS, configMap("b"));
  const last = textOf((await first.tools.get(MAPS)).body.metadata?.resourceVersion);
  await first.end();
  const { tools, end } = await start();
  const gone = await tools.watch(`${MAPS}?watch=true&resourceVersion=${old}`, () => true);
  expect(gone.events[0]).toMatchObject({ type: "ERROR", object: { code: 410, reason: "Expired" } });
  const exact = await tools.get(`${MAPS}?resourceVersion=${old}&resourceVersionMatch=Exact`);
  expect([exact.status, exact.body.reason]).toEqual([410, "Expired"]);
  const going = await tools.watch(
    `${MAPS}?watch=true&resourceVersion=${last}`,
    (events) => events.length === 1,
    () => tools.post(MAPS, configMap("c")),
  );
  expect(going.events[0]).toMatchObject({ type: "ADDED", object: { metadata: { name: "c" } } });
  await end();
});

test("a second server on the same folder is refused and says why", async () => {
  const first = await start();
  await expect(start()).rejects.toMatchObject({
    code: "Unavailable",
    message: expect.stringContaining("is another Argus running there?"),
  });
  await first.end();
});

test("a watcher that reads nothing is cut, and the server goes on", async () => {
  const { api, tools, end } = await start();
  const watching = httpsRequest(`https://127.0.0.1:${api.port}${MAPS}?watch=true`, {
    ca: api.caPem,
    headers: { authorization: `Bearer ${api.tokens.admin}` },
  }).end();
  const [response] = await once(watching, "response");
  response.pause();
  const ended = new Promise((resolve) => response.on("close", resolve));
  response.on("error", () => {});
  await tools.post(MAPS, configMap("big", { x: "x".repeat(1024 * 1024) }));
  for (let round = 0; round < 40; round += 1) {
    await tools.patch(`${MAPS}/big`, "merge", { data: { y: String(round) } });
  }
  let bytes = 0;
  response.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
  });
  response.resume();
  await ended;
  expect(response.complete).toBe(false);
  expect(bytes).toBeLessThan(40 * 1024 * 1024);
  expect((await tools.get(`${MAPS}/big`)).status).toBe(200);
  await end();
});

test("an abort ends watches and frees the port", async () => {
  const { api, tools, end } = await start();
  const seen: string[] = [];
  const watching = tools.watch(`${MAPS}?watch=true`, (events) => {
    seen.push(String(events.length));
    return false;
  });
  await tools.post(MAPS, configMap("a"));
  await tools.until(async () => seen.length > 0);
  await end();
  await expect(watching.catch(() => "cut")).resolves.toBeTruthy();
  await expect(fetch(`https://127.0.0.1:${api.port}/livez`)).rejects.toThrow("fetch failed");
});
