import { afterEach, beforeEach, expect, test } from "vitest";
import { BridgeStatus } from "#protocol/bridge.ts";
import { startProbe } from "#runtime/probe.ts";

const status: BridgeStatus = {
  boot: "b1",
  seq: 7,
  state: "hot",
  peers: 1,
  busyThreads: 0,
  openApprovals: 0,
  restarts: 0,
  garbageLines: 0,
  install: { state: "none" },
  pidIsolation: "Degraded",
};

const stop = new AbortController();
let ready = { ok: false, reason: "the app-server is starting" };
let url: string;
let closed: Promise<void>;

beforeEach(async () => {
  if (url) return;
  const options = { host: "127.0.0.1", port: 0, status: () => status, ready: () => ready };
  const listening = await startProbe(options, stop.signal);
  url = `http://127.0.0.1:${listening.port}`;
  closed = listening.closed;
});
afterEach(() => {
  ready = { ok: false, reason: "the app-server is starting" };
});

const get = async (path: string, method = "GET") => {
  const response = await fetch(url + path, { method });
  return { status: response.status, text: await response.text() };
};

test("it lives as soon as it listens and is ready when the bridge says so", async () => {
  expect(await get("/livez")).toEqual({ status: 200, text: "ok\n" });
  expect(await get("/readyz")).toEqual({ status: 503, text: "the app-server is starting\n" });
  ready = { ok: true, reason: "" };
  expect(await get("/readyz?verbose")).toEqual({ status: 200, text: "ok\n" });
});

test("the status fits its schema", async () => {
  const { text } = await get("/status");
  expect(BridgeStatus.parse(JSON.parse(text))).toEqual(status);
});

test("it is read-only and has nothing else", async () => {
  expect((await get("/")).status).toBe(404);
  expect((await get("/status/x")).status).toBe(404);
  expect((await get("/status", "POST")).status).toBe(404);
});

test("an abort closes it", async () => {
  stop.abort();
  await closed;
  await expect(fetch(`${url}/livez`)).rejects.toThrow();
});
