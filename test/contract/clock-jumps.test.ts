import { afterEach, beforeEach, expect, test } from "vitest";
import { LaneBridge } from "#test/fakes/lane-bridge.ts";
import { bridgeSuite } from "#test/support/bridge-suite.ts";
import { eventually } from "#test/support/eventually.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";
import { setWallClock } from "#test/support/wall-clock.ts";
import { WsClient } from "#test/support/ws-client.ts";

const HOUR = 3_600_000;
/** Waits, leases and writes of the gateway take seconds, never the length of a jump. */
const SOON_MS = 25_000;
const startBridge = bridgeSuite();

let rig: GatewayRig;
let lane: LaneBridge;
beforeEach(async () => {
  rig = await GatewayRig.start();
  lane = new LaneBridge();
});
afterEach(() => rig.stop());

test.each([HOUR, -HOUR])(
  "the gateway's clock is set by %i ms: messages go on, once each, and the demand opens and closes",
  { timeout: 90_000 },
  async (ms) => {
    rig.putSession("main", { spec: { idle: { suspendAfterSeconds: 60, wakeOn: ["Message"] } } });
    await rig.putPod("main", lane.onPeer);
    const client = await WsClient.connect({
      url: rig.url,
      token: ADMIN,
      query: { session: "main" },
    });
    const demand = (wanted: string) =>
      eventually(
        `the demand is ${wanted}`,
        () => rig.session("main")?.status?.activity?.demand === wanted,
        SOON_MS,
      );
    const send = async (text: string) =>
      String((await client.request("argus/input/enqueue", { text, key: text }))["inputId"]);
    const first = await send("before");
    await eventually("its turn", () => lane.started.length === 1);
    // In the middle of a turn, of a lease, of a write.
    setWallClock(ms);
    const second = await send("meanwhile");
    lane.end(first);
    await eventually("the next turn", () => lane.started.length === 2, SOON_MS);
    lane.end(second);
    await demand("None");
    const third = await send("after");
    expect(await send("after")).toBe(third);
    await demand("Open");
    await eventually("the last turn", () => lane.started.length === 3, SOON_MS);
    lane.end(third);
    await demand("None");
    expect(lane.started.map(({ text }) => text)).toEqual(["before", "meanwhile", "after"]);
    const { ended } = await client.request("argus/input/list");
    expect((ended as { state: string }[]).map(({ state }) => state)).toEqual([
      "done",
      "done",
      "done",
    ]);
    await client.close();
  },
);

test.each([HOUR, -HOUR])(
  "the pod's clock is set by %i ms: a question stays open, a request is not given up, the agent stays",
  async (ms) => {
    const bridge = await startBridge();
    const peer = await bridge.join();
    const { thread } = await peer.request("thread/start", {});
    const { id: threadId } = thread as { id: string };
    const words = (text: string) => ({ threadId, input: [{ type: "text", text }] });
    await peer.request("turn/start", words("ask"));
    const asked = await peer.waitFor(
      "the question",
      ({ id, method }) => method !== undefined && id !== undefined,
    );
    const pid = bridge.appServerPid();
    setWallClock(ms);
    // Two sweeps for whatever is late.
    await new Promise((resolve) => setTimeout(resolve, 2500));
    expect(bridge.received().filter(({ method }) => method === undefined)).toEqual([]);
    peer.send({ id: asked.id, result: { decision: "accept" } });
    const answered = await peer.notification("test/answered");
    expect(answered.params?.["result"]).toEqual({ decision: "accept" });
    expect(bridge.appServerPid()).toBe(pid);
    expect((await bridge.status()).state).toBe("hot");
  },
);
