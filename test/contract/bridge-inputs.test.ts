import { expect, test } from "vitest";
import type { BridgePeer } from "#test/support/bridge-peer.ts";
import { bridgeSuite } from "#test/support/bridge-suite.ts";

const start = bridgeSuite();

const threadOf = (result: Record<string, unknown>) => (result.thread as { id: string }).id;
const turnOf = (result: Record<string, unknown> | undefined) =>
  result?.turn as { id: string; status: string };
const newThread = async (peer: BridgePeer) => threadOf(await peer.request("thread/start", {}));
const turn = (threadId: string, text: string, clientUserMessageId?: string) => ({
  threadId,
  input: [{ type: "text", text }],
  ...(clientUserMessageId ? { clientUserMessageId } : {}),
});

test("the same input id twice makes one turn: while it runs, after its end, after the app-server died", async () => {
  const bridge = await start();
  const lane = await bridge.join({ role: "lane" });
  const threadId = await newThread(lane);
  const first = turnOf(await lane.request("turn/start", turn(threadId, "hold", "in-1")));
  const again = turnOf(await lane.request("turn/start", turn(threadId, "hold", "in-1")));
  expect(again).toMatchObject({ id: first.id, status: "inProgress" });
  await lane.request("test/finish", { threadId });
  await lane.notification("turn/completed");
  expect(turnOf(await lane.request("turn/start", turn(threadId, "hold", "in-1")))).toMatchObject({
    id: first.id,
    status: "completed",
  });
  process.kill(bridge.appServerPid(), "SIGKILL");
  await lane.notification("argus/restarted");
  expect(turnOf(await lane.request("turn/start", turn(threadId, "hold", "in-1"))).id).toBe(
    first.id,
  );
  expect(bridge.received().filter(({ method }) => method === "turn/start")).toHaveLength(1);
  const { error } = await lane.ask("turn/start", turn("another", "hold", "in-1"));
  expect(error?.data).toMatchObject({ reason: "conflict" });
});

test("after kill -9 open requests are failed, the thread is resumed, an input absent from history runs again, a present one never", async () => {
  const bridge = await start();
  const [lane, client] = [await bridge.join({ role: "lane" }), await bridge.join()];
  const threadId = await newThread(lane);
  await lane.request("turn/start", turn(threadId, "say first", "in-1"));
  await lane.notification("turn/completed");
  const lost = turnOf(await lane.request("turn/start", turn(threadId, "hold", "in-2")));
  const open = client.ask("test/silent", {});
  await client.request("test/echo", {});
  process.kill(bridge.appServerPid(), "SIGKILL");
  expect((await open).error).toMatchObject({ data: { reason: "restarted" } });
  const restarted = await client.notification("argus/restarted");
  expect(restarted.params).toMatchObject({
    boot: client.hello.boot,
    reason: expect.stringContaining("SIGKILL"),
  });
  const second = turnOf(await lane.request("turn/start", turn(threadId, "hold", "in-2")));
  expect(second.id).not.toBe(lost.id);
  const methods = bridge.received().map(({ method }) => method);
  expect(methods.filter((method) => method === "thread/resume")).toHaveLength(1);
  expect(methods.filter((method) => method === "turn/start")).toHaveLength(3);
});

test("a turn whose tool was seen to run is never run again, even if history has lost it", async () => {
  const bridge = await start();
  const lane = await bridge.join({ role: "lane" });
  const threadId = await newThread(lane);
  await lane.request("turn/start", turn(threadId, "say first", "in-1"));
  await lane.notification("turn/completed");
  const ran = turnOf(await lane.request("turn/start", turn(threadId, "tool", "in-2")));
  await lane.waitFor(
    "the tool",
    ({ params }) => (params?.item as { type?: string })?.type === "commandExecution",
  );
  process.kill(bridge.appServerPid(), "SIGKILL");
  await lane.notification("argus/restarted");
  expect(turnOf(await lane.request("turn/start", turn(threadId, "tool", "in-2")))).toMatchObject({
    id: ran.id,
    status: "interrupted",
  });
});

test("a restarted bridge knows the inputs of the one before and ends the app-server that it left", async () => {
  const bridge = await start();
  const lane = await bridge.join({ role: "lane" });
  const threadId = await newThread(lane);
  await lane.request("turn/start", turn(threadId, "say first", "in-1"));
  const ended = turnOf((await lane.notification("turn/completed")).params);
  await bridge.stop();
  const next = await start({ volume: bridge.volume });
  const successor = await next.join({ role: "lane" });
  expect(
    turnOf(await successor.request("turn/start", turn(threadId, "say first", "in-1"))),
  ).toMatchObject({
    id: ended.id,
    status: "completed",
  });
});

test("a runtime without history ends an open input as OutcomeUnknown", async () => {
  const bridge = await start({ env: { FAKE_NO_HISTORY: "1" } });
  const lane = await bridge.join({ role: "lane" });
  const threadId = await newThread(lane);
  await lane.request("turn/start", turn(threadId, "hold", "in-1"));
  process.kill(bridge.appServerPid(), "SIGKILL");
  await lane.notification("argus/restarted");
  const { error } = await lane.ask("turn/start", turn(threadId, "hold", "in-1"));
  expect(error?.message).toContain("OutcomeUnknown");
  expect(bridge.received().filter(({ method }) => method === "turn/start")).toHaveLength(1);
});

test("a thread that never had a turn is silently made anew and keeps its id for peers", async () => {
  const bridge = await start();
  const peer = await bridge.join();
  const threadId = await newThread(peer);
  process.kill(bridge.appServerPid(), "SIGKILL");
  await peer.notification("argus/restarted");
  await peer.request("turn/start", turn(threadId, "say hi"));
  const { params } = await peer.notification("turn/completed");
  expect(params?.threadId).toBe(threadId);
  const started = bridge.received().findLast(({ method }) => method === "turn/start");
  expect(started?.params?.threadId).not.toBe(threadId);
  const read = await peer.request("thread/turns/list", { threadId });
  expect(read.data).toHaveLength(1);
});

const ends = ({ lines }: BridgePeer) =>
  lines.filter(({ method }) => method === "turn/completed").length;
const steerOf = (threadId: string, expectedTurnId: string, clientUserMessageId: string) => ({
  ...turn(threadId, "more", clientUserMessageId),
  expectedTurnId,
});

test("a steer that is repeated joins its turn once: while it runs, after its end, after the app-server died", async () => {
  const bridge = await start();
  const peer = await bridge.join();
  const threadId = await newThread(peer);
  const { id } = turnOf(await peer.request("turn/start", turn(threadId, "hold", "in-1")));
  const steer = steerOf(threadId, id, "in-2");
  expect(await peer.request("turn/steer", steer)).toEqual({ turnId: id });
  expect(await peer.request("turn/steer", steer)).toEqual({ turnId: id });
  await peer.request("test/finish", { threadId });
  await peer.notification("turn/completed");
  expect(await peer.request("turn/steer", steer)).toEqual({ turnId: id });
  process.kill(bridge.appServerPid(), "SIGKILL");
  await peer.notification("argus/restarted");
  expect(await peer.request("turn/steer", steer)).toEqual({ turnId: id });
  const again = await peer.request("turn/start", turn(threadId, "more", "in-2"));
  expect(turnOf(again)).toMatchObject({ id, status: "completed" });
  expect(bridge.received().filter(({ method }) => method === "turn/steer")).toHaveLength(1);
});

test("a steer that came too late is in no ledger: its message starts a turn", async () => {
  const bridge = await start();
  const peer = await bridge.join();
  const threadId = await newThread(peer);
  await peer.request("turn/start", turn(threadId, "hold", "in-1"));
  const { error } = await peer.ask("turn/steer", steerOf(threadId, "another", "in-2"));
  expect(error?.message).toContain("expected active turn");
  await peer.request("test/finish", { threadId });
  await peer.notification("turn/completed");
  await peer.request("turn/start", turn(threadId, "say more", "in-2"));
  expect(bridge.received().filter(({ method }) => method === "turn/start")).toHaveLength(2);
});

test("a queued input that is repeated is queued once: before its turn, after it, after the app-server died", async () => {
  const bridge = await start();
  const peer = await bridge.join();
  const threadId = await newThread(peer);
  await peer.request("turn/start", turn(threadId, "hold", "in-1"));
  const add = turn(threadId, "say queued", "in-2");
  const first = await peer.request("thread/queue/add", add);
  expect(first.queuedSubmission).toMatchObject({ clientUserMessageId: "in-2" });
  expect(await peer.request("thread/queue/add", add)).toEqual(first);
  await peer.request("test/finish", { threadId });
  await peer.notification("turn/completed");
  await peer.waitFor("both turns' ends", () => ends(peer) === 2);
  expect(await peer.request("thread/queue/add", add)).toEqual(first);
  process.kill(bridge.appServerPid(), "SIGKILL");
  await peer.notification("argus/restarted");
  expect(await peer.request("thread/queue/add", add)).toEqual(first);
  expect(bridge.received().filter(({ method }) => method === "thread/queue/add")).toHaveLength(1);
});

test("an input that still waits in the queue of a resumed thread is not queued again", async () => {
  const bridge = await start();
  const peer = await bridge.join();
  const threadId = await newThread(peer);
  await peer.request("turn/start", turn(threadId, "say first", "in-1"));
  await peer.notification("turn/completed");
  await peer.request("turn/start", turn(threadId, "hold", "in-2"));
  const add = turn(threadId, "say queued", "in-3");
  const first = await peer.request("thread/queue/add", add);
  process.kill(bridge.appServerPid(), "SIGKILL");
  await peer.notification("argus/restarted");
  expect(await peer.request("thread/queue/add", add)).toEqual(first);
  expect(bridge.received().filter(({ method }) => method === "thread/queue/add")).toHaveLength(1);
});

test("a draining bridge answers the repeat of a known input and refuses a new one", async () => {
  const bridge = await start({ tuning: { graceMs: 30_000 } });
  const peer = await bridge.join();
  const threadId = await newThread(peer);
  await peer.request("turn/start", turn(threadId, "say first", "in-1"));
  const ended = turnOf((await peer.notification("turn/completed")).params);
  const running = turnOf(await peer.request("turn/start", turn(threadId, "hold", "in-2")));
  const drained = bridge.drain();
  await peer.notification("argus/bridge/state");
  expect(turnOf(await peer.request("turn/start", turn(threadId, "say first", "in-1"))).id).toBe(
    ended.id,
  );
  expect(turnOf(await peer.request("turn/start", turn(threadId, "hold", "in-2"))).id).toBe(
    running.id,
  );
  const { error } = await peer.ask("turn/start", turn(threadId, "say new", "in-3"));
  expect(error?.data).toMatchObject({ reason: "draining" });
  await peer.request("test/finish", { threadId });
  await drained;
});
