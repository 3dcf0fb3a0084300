import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { TestBridge } from "#test/support/bridge.ts";
import type { BridgePeer } from "#test/support/bridge-peer.ts";
import { bridgeSuite } from "#test/support/bridge-suite.ts";
import { eventually } from "#test/support/eventually.ts";

const start = bridgeSuite();

const threadOf = (result: Record<string, unknown>) => (result.thread as { id: string }).id;
const newThread = async (peer: BridgePeer) => threadOf(await peer.request("thread/start", {}));
const hold = (threadId: string) => ({ threadId, input: [{ type: "text", text: "hold" }] });
const status = async (bridge: TestBridge) => JSON.parse((await bridge.get("/status")).body);

test("SIGTERM refuses new turns with draining, lets the running one end, and leaves a cause of death", async () => {
  const bridge = await start({ tuning: { graceMs: 20_000 } });
  const peer = await bridge.join();
  const [running, other] = [await newThread(peer), await newThread(peer)];
  await peer.request("turn/start", hold(running));
  const stopped = bridge.drain();
  await peer.waitFor("draining", ({ params }) => params?.state === "draining");
  const { error } = await peer.ask("turn/start", hold(other));
  expect(error).toMatchObject({ code: -32001, data: { reason: "draining" } });
  expect((await bridge.get("/readyz")).status).toBe(503);
  await peer.request("test/finish", { threadId: running });
  await peer.notification("turn/completed");
  await stopped;
  await peer.closed;
  const left = readFileSync(join(bridge.volume.folder, "termination-log"), "utf8");
  expect(JSON.parse(left)).toMatchObject({ reason: "Stopped" });
});

test("install: peers are held until it is done; its failure is told with its last lines", async () => {
  const bridge = await start({
    runtime: { install: 'test -e "$HOME/go" || { echo not yet; exit 4; }' },
  });
  await eventually("failed", async () => (await status(bridge)).state === "failed");
  expect((await bridge.join()).hello.state).toBe("failed");
  const { install, reason } = await status(bridge);
  expect(install).toMatchObject({ state: "failed" });
  expect(install.tail).toContain("not yet");
  expect(reason).toContain("not yet");
  await bridge.stop();
  const next = await start({ volume: bridge.volume, runtime: { install: "sleep 0.5; echo ok" } });
  const early = await next.join();
  expect(early.hello.state).toMatch(/starting|installing/);
  expect(await early.request("test/echo", { held: true })).toEqual({ held: true });
  expect((await status(next)).install.state).toBe("done");
});

test("of a runtime that is not Codex the first peer's initialize is used, also after a restart; failure reaches all who wait", async () => {
  const bridge = await start({ runtime: { protocol: "jsonl" } });
  const [a, b] = [await bridge.join(), await bridge.join()];
  const [first, second] = await Promise.all([
    a.ask("initialize", { fail: true }),
    b.ask("initialize", { fail: true }),
  ]);
  expect([first.error?.message, second.error?.message]).toEqual(
    Array(2).fill("initialize failed on request"),
  );
  const own = { clientInfo: { name: "own" } };
  const answer = await a.request("initialize", own);
  expect(answer.got).toEqual(own);
  expect(await b.request("initialize", { other: 1 })).toEqual(answer);
  process.kill(bridge.appServerPid(), "SIGKILL");
  await a.notification("argus/restarted");
  const again = await b.request("initialize", { other: 1 });
  expect(again.got).toEqual(own);
  expect(again).not.toEqual(answer);
});

test("bridge/context tells the workspace's files without starting the app-server", async () => {
  const bridge = await start();
  const peer = await bridge.join();
  await peer.request("test/echo", {});
  const { files } = await peer.request("bridge/context");
  expect(Object.keys(files as object)).toContain("AGENTS.md");
});
