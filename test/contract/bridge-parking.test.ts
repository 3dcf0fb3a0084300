import { expect, test } from "vitest";
import type { BridgePeer } from "#test/support/bridge-peer.ts";
import { bridgeSuite } from "#test/support/bridge-suite.ts";
import { eventually } from "#test/support/eventually.ts";

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

test("a parked app-server starts for the next line; the peer notices nothing but the state", async () => {
  const bridge = await start({ runtime: { parkAfterSeconds: 1 } });
  const peer = await bridge.join();
  await peer.request("initialize", {});
  const threadId = await newThread(peer);
  await peer.request("turn/start", turn(threadId, "say hi"));
  await peer.waitFor(
    "parked",
    ({ method, params }) => method === "argus/bridge/state" && params?.state === "parked",
  );
  await peer.ask("bridge/context");
  expect((await bridge.get("/readyz")).status).toBe(200);
  expect(JSON.parse((await bridge.get("/status")).body)).toMatchObject({
    state: "parked",
    restarts: 0,
  });
  expect(turnOf(await peer.request("turn/start", turn(threadId, "say more"))).status).toBe(
    "inProgress",
  );
  expect(peer.lines.some(({ method }) => method === "argus/restarted")).toBe(false);
});

test("a busy thread, an open question and a background command keep the app-server from being parked", async () => {
  const bridge = await start({ runtime: { parkAfterSeconds: 1 } });
  const peer = await bridge.join();
  const threadId = await newThread(peer);
  await peer.request("test/terminal", { threadId, on: true });
  const asked = () =>
    bridge.received().filter(({ method }) => method === "thread/backgroundTerminals/list");
  await eventually("asked for background commands", () => asked().length > 0);
  await peer.request("test/echo", {});
  expect(JSON.parse((await bridge.get("/status")).body).state).toBe("hot");
});
