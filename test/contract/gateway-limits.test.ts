import { afterEach, expect, test } from "vitest";
import { LaneBridge } from "#test/fakes/lane-bridge.ts";
import { eventually } from "#test/support/eventually.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";
import { WsClient } from "#test/support/ws-client.ts";

const TEN_MIB = "x".repeat(10 * 1024 * 1024);
const KIB = 1024;

let rig: GatewayRig;
afterEach(() => rig.stop());

const connect = () =>
  WsClient.connect({ url: rig.url, token: ADMIN, query: { session: "main" }, timeoutMs: 60_000 });

const post = async (path: string, body: object) => {
  const answer = await fetch(`${rig.url}${path}`, {
    method: "POST",
    headers: { authorization: `Bearer ${ADMIN}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: answer.status, body: (await answer.json()) as Record<string, unknown> };
};

test("10 MiB in one event or message: refused with the bound over every way in, and nothing is accepted", async () => {
  rig = await GatewayRig.start();
  rig.putSession("main");
  const client = await connect();
  const refusal = async (method: string, params: object) =>
    (await client.ask(method, params)).error?.message ?? "";
  expect(await refusal("argus/event/enqueue", { text: TEN_MIB, key: "e" })).toContain(
    "at most 16384",
  );
  expect(await refusal("argus/input/enqueue", { text: TEN_MIB, key: "m" })).toContain(
    "at most 65536",
  );
  const params = { text: TEN_MIB, key: "e" };
  const called = await post("/call", { session: "main", method: "argus/event/enqueue", params });
  expect([called.status, String(called.body["detail"])]).toEqual([
    413,
    expect.stringMatching(/at most|too large/),
  ]);
  const posted = await post("/automation/systemEvent/enqueue", { text: TEN_MIB, key: "e" });
  expect([posted.status, String(posted.body["detail"])]).toEqual([
    413,
    expect.stringContaining("at most 16384 bytes"),
  ]);
  const hook = await fetch(`${rig.url}/webhooks/main/ci`, { method: "POST", body: TEN_MIB });
  expect([hook.status, await hook.text()]).toEqual([413, expect.stringContaining("at most")]);
  expect((await client.request("argus/event/list", { limit: 10 }))["events"]).toEqual([]);
  expect((await client.request("argus/input/list"))["inputs"]).toEqual([]);
  await client.close();
});

test("a ConfigMap at its limit refuses newcomers in words, ends everything that it took, and then takes more", {
  timeout: 120_000,
}, async () => {
  rig = await GatewayRig.start({ store: "configmap" });
  const lane = new LaneBridge();
  lane.onStarted = ({ id }) => setImmediate(() => lane.end(id));
  rig.putSession("main");
  const client = await connect();
  const send = (key: string) =>
    client.ask("argus/input/enqueue", { text: key.padEnd(60 * KIB, "x"), key });
  const taken: string[] = [];
  let refused = "";
  while (refused === "") {
    const key = `k${taken.length}`;
    const { error } = await send(key);
    if (error) refused = error.message;
    else taken.push(key);
    expect(taken.length).toBeLessThan(20);
  }
  expect(taken.length).toBeGreaterThan(2);
  expect(refused).toMatch(/room|full/i);
  // A repeat of what was taken is never refused.
  expect((await send("k0")).result).toMatchObject({ repeated: true });
  await rig.stopGateway();
  await rig.startGateway({ store: "configmap" });
  await rig.putPod("main", lane.onPeer);
  const again = await connect();
  const { ended } = await eventually("everything that was taken has ended", async () => {
    const lists = await again.request("argus/input/list");
    return (lists["inputs"] as unknown[]).length === 0 && lists;
  });
  const ends = (ended as { key: string; state: string }[]).map(({ key, state }) => [key, state]);
  expect(ends).toEqual(taken.map((key) => [key, "done"]));
  expect(lane.started).toHaveLength(taken.length);
  const { inputId } = await again.request("argus/input/enqueue", {
    text: "there is room",
    key: "n",
  });
  expect(inputId).toEqual(expect.any(String));
  for (const each of [client, again]) await each.close();
});
