import { expect, test } from "vitest";
import type { TestBridge } from "#test/support/bridge.ts";
import type { BridgePeer } from "#test/support/bridge-peer.ts";
import { bridgeSuite } from "#test/support/bridge-suite.ts";

const start = bridgeSuite();
const strict = { approvalPolicy: "untrusted", sandbox: "read-only" };
const say = (threadId: string) => ({ threadId, input: [{ type: "text", text: "say" }] });
const threadOf = (result: Record<string, unknown>) => (result.thread as { id: string }).id;

/** Parameters of the last such request that reached the app-server. */
const last = (bridge: TestBridge, method: string) =>
  bridge.received().findLast((line) => line.method === method)?.params;

async function sayIn(peer: BridgePeer, threadId: string): Promise<void> {
  await peer.request("turn/start", say(threadId));
  await peer.notification("turn/completed");
}

test("what a client chose for its thread holds after the bridge was started anew, with a turn in it and without", async () => {
  const first = await start();
  const peer = await first.join();
  const [used, unused] = [
    threadOf(await peer.request("thread/start", strict)),
    threadOf(await peer.request("thread/start", strict)),
  ];
  await sayIn(peer, used);
  await first.stop();
  const second = await start({ volume: first.volume });
  const next = await second.join();
  for (const threadId of [used, unused]) {
    await sayIn(next, threadId);
    expect(last(second, "turn/start")).toMatchObject({
      approvalPolicy: "untrusted",
      sandboxPolicy: { type: "readOnly" },
    });
  }
  expect(second.received().find(({ method }) => method === "thread/resume")?.params).toMatchObject(
    strict,
  );
});

test("a choice made with a turn holds for later ones too, also of the next bridge", async () => {
  const bridge = await start();
  const peer = await bridge.join();
  const threadId = threadOf(await peer.request("thread/start", {}));
  const policy = { approvalPolicy: "untrusted" };
  await peer.request("turn/start", { ...say(threadId), ...policy });
  await peer.notification("turn/completed");
  expect(last(bridge, "turn/start")).toMatchObject(policy);
  await bridge.stop();
  const next = await start({ volume: bridge.volume });
  await sayIn(await next.join(), threadId);
  expect(last(next, "turn/start")).toMatchObject(policy);
});
