import { dirname } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { codexBinary } from "#test/fakes/codex.ts";
import { type FakeModel, startFakeModel } from "#test/fakes/model.ts";
import {
  removeVolume,
  startTestBridge,
  type TestBridge,
  type Volume,
} from "#test/support/bridge.ts";
import type { BridgePeer } from "#test/support/bridge-peer.ts";

let model: FakeModel;
let bridge: TestBridge;

const start = (volume?: Volume, parkAfterSeconds = 0) =>
  startTestBridge({
    runtime: {
      command: ["codex", "app-server"],
      model: "fake-model",
      approvals: "untrusted",
      parkAfterSeconds,
    },
    env: { PATH: `${dirname(codexBinary())}:/usr/bin:/bin` },
    gatewayUrl: new URL(model.url).origin,
    ...(volume ? { volume } : {}),
  });

beforeEach(async () => {
  model = await startFakeModel();
});
afterEach(async () => {
  await bridge.stop();
  await model.close();
  await removeVolume(bridge.volume);
});

const threadOf = (result: Record<string, unknown>) => (result.thread as { id: string }).id;
const turnOf = (from: Record<string, unknown> | undefined) =>
  from?.turn as { id: string; status: string };
const turn = (threadId: string, text: string, clientUserMessageId: string) => ({
  threadId,
  clientUserMessageId,
  input: [{ type: "text", text, text_elements: [] }],
});
const ended = (peer: BridgePeer, turnId: string) =>
  peer.waitFor(
    `the end of ${turnId}`,
    ({ method, params }) => method === "turn/completed" && turnOf(params).id === turnId,
  );

test("the real Codex: handshake, threads and errors through the bridge", async () => {
  bridge = await start();
  const peer = await bridge.join();
  const first = await peer.request("initialize", { clientInfo: { name: "t", version: "0" } });
  expect(first.userAgent).toContain("argus_bridge/");
  const started = await peer.request("thread/start", {});
  expect(started.approvalPolicy).toBe(peer.hello.defaults.approvalPolicy);
  expect(started.cwd).toBe(peer.hello.defaults.cwd);
  const loaded = await peer.request("thread/loaded/list", {});
  expect(loaded.data).toEqual([threadOf(started)]);
  expect((await peer.request("thread/list", {})).data).toEqual([]);
  expect((await peer.ask("argus/input/enqueue")).error?.message).toContain("unknown variant");
  expect(
    (await peer.ask("turn/start", turn("0199a213-81c0-7800-8aa1-bbab2a035a53", "x", "i"))).error,
  ).toBeDefined();
  expect((await bridge.get("/readyz")).status).toBe(200);
});

test("the real Codex: a thread without a turn outlives kill -9; inputs run once; absent ones run again", async () => {
  bridge = await start();
  const lane = await bridge.join({ role: "lane" });
  const threadId = threadOf(await lane.request("thread/start", {}));
  process.kill(bridge.appServerPid(), "SIGKILL");
  await lane.notification("argus/restarted");
  const first = turnOf(await lane.request("turn/start", turn(threadId, "hello", "in-1")));
  expect((await ended(lane, first.id)).params).toMatchObject({
    threadId,
    turn: { status: "completed" },
  });
  const stalled = turnOf(await lane.request("turn/start", turn(threadId, "stall", "in-2")));
  await model.waitFor(({ words }) => words === "stall");
  expect((await lane.ask("turn/start", turn(threadId, "other", "in-3"))).error?.data).toMatchObject(
    {
      reason: "busy",
      turnId: stalled.id,
    },
  );
  const from = lane.lines.length;
  process.kill(bridge.appServerPid(), "SIGKILL");
  await lane.notification("argus/restarted", from);
  expect(turnOf(await lane.request("turn/start", turn(threadId, "hello", "in-1"))).id).toBe(
    first.id,
  );
  // History decides: the stalled input is there as interrupted, or absent and started anew.
  const again = turnOf(await lane.request("turn/start", turn(threadId, "hello again", "in-2")));
  if (again.id === stalled.id) expect(again.status).toBe("interrupted");
  else await ended(lane, again.id);
  expect(model.requests.filter(({ words }) => words === "hello")).toHaveLength(1);
});

test("the real Codex: an approval by the number that we gave it, then parked, then the same thread goes on", async () => {
  bridge = await start(undefined, 1);
  const peer = await bridge.join();
  const threadId = threadOf(
    await peer.request("thread/start", {
      sandbox: "danger-full-access",
      approvalPolicy: "untrusted",
    }),
  );
  const asking = turnOf(
    await peer.request("turn/start", turn(threadId, "run: touch made", "in-1")),
  );
  const question = await peer.waitFor(
    "the question",
    ({ id, method }) => id !== undefined && method !== undefined,
  );
  expect(question.id).toBeGreaterThan(1_000_000);
  peer.send({ id: question.id, result: { decision: "accept" } });
  const resolved = await peer.notification("serverRequest/resolved");
  expect(resolved.params).toMatchObject({ threadId, requestId: question.id });
  expect((await ended(peer, asking.id)).params).toMatchObject({ turn: { status: "completed" } });
  await peer.waitFor("parked", ({ params }) => params?.state === "parked");
  const next = turnOf(await peer.request("turn/start", turn(threadId, "still there", "in-2")));
  await ended(peer, next.id);
  const asked = await model.waitFor(({ words }) => words === "still there");
  expect(JSON.stringify(asked.body)).toContain("touch made");
});

test("the real Codex: the next bridge on the volume knows thread, inputs and epoch", async () => {
  bridge = await start();
  const lane = await bridge.join({ role: "lane", epoch: 3 });
  const threadId = threadOf(await lane.request("thread/start", {}));
  const first = turnOf(await lane.request("turn/start", turn(threadId, "hello", "in-1")));
  await ended(lane, first.id);
  await bridge.stop();
  bridge = await start(bridge.volume);
  await expect(bridge.join({ epoch: 2 })).rejects.toThrow("higher epoch");
  const successor = await bridge.join({ role: "lane", epoch: 4 });
  const repeated = turnOf(await successor.request("turn/start", turn(threadId, "hello", "in-1")));
  expect(repeated).toMatchObject({ id: first.id, status: "completed" });
  const next = turnOf(await successor.request("turn/start", turn(threadId, "and now", "in-2")));
  await ended(successor, next.id);
});
