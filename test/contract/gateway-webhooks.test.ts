import { afterEach, beforeEach, expect, test } from "vitest";
import { secrets } from "#cluster/resources.ts";
import type { KubeObject } from "#cluster/types.ts";
import { WebhookSecrets } from "#gateway/webhooks/secrets.ts";
import { silentLogger } from "#lib/logger.ts";
import { signed } from "#lib/standard-webhooks.ts";
import { FakeKube } from "#test/fakes/kube.ts";
import { LaneBridge } from "#test/fakes/lane-bridge.ts";
import { eventually } from "#test/support/eventually.ts";
import { ADMIN, GatewayRig, NAMESPACE } from "#test/support/gateway.ts";
import { WsClient } from "#test/support/ws-client.ts";

const KEY = "the key of the tests";
const HOOK = {
  name: "ci",
  secretKeyRef: { name: "ci-key", key: "key" },
  scheme: "Standard",
  toleranceSeconds: 300,
  wakes: true,
};

let rig: GatewayRig;
let bridge: LaneBridge;
beforeEach(async () => {
  rig = await GatewayRig.start();
  bridge = new LaneBridge();
  putKey(rig.kube, KEY);
  const others = [
    { ...HOOK, name: "none", secretKeyRef: { name: "nothing", key: "key" } },
    { ...HOOK, name: "quiet", wakes: false },
  ];
  rig.putSession("main", { spec: { webhooks: [HOOK, ...others] } });
  rig.putSession("bare");
});
afterEach(async () => {
  await rig.stop();
});

function putKey(kube: FakeKube, value: string): void {
  const data = { key: Buffer.from(value).toString("base64") };
  kube.put(secrets, { metadata: { name: "ci-key", namespace: NAMESPACE }, data } as KubeObject);
}

interface Posted {
  path?: string;
  id?: string;
  body?: string | Buffer;
  at?: number;
  key?: string;
  type?: string;
}

async function post({ path = "main/ci", id = "d-1", type = "application/json", ...more }: Posted) {
  const { body = '{"build":17}', at = Date.now(), key = KEY } = more;
  const stated: Record<string, string> = type ? { "content-type": type } : {};
  const headers = { ...signed(body, id, Buffer.from(key), at), ...stated };
  const answer = await fetch(`${rig.url}/webhooks/${path}`, {
    method: "POST",
    headers,
    body: new Uint8Array(Buffer.from(body)),
  });
  const retryAfter = answer.headers.get("retry-after");
  return { status: answer.status, body: (await answer.json()) as object, retryAfter };
}

async function events(): Promise<{ key: string; state: string; text: string }[]> {
  const client = await WsClient.connect({ url: rig.url, token: ADMIN, query: { session: "main" } });
  const { events: list } = await client.request("argus/event/list", { limit: 1000 });
  await client.close();
  return list as Awaited<ReturnType<typeof events>>;
}

test("a signed webhook is committed once and told in a turn, over a restart too", async () => {
  const queued = { status: 202, body: { ok: true, sessionId: "main", state: "queued" } };
  expect(await post({})).toMatchObject(queued);
  expect(await post({})).toMatchObject({ status: 202, body: { state: "duplicate" } });
  await rig.stopGateway();
  await rig.startGateway();
  expect(await post({})).toMatchObject({ status: 202, body: { state: "duplicate" } });
  await rig.putPod("main", bridge.onPeer);
  await eventually("its turn", () => bridge.started.length === 1);
  expect(bridge.prompts[0]).toContain('Webhook ci: {"build":17}');
  bridge.end(String(bridge.started[0]?.id));
  await eventually("it is done", async () => (await events())[0]?.state === "Succeeded");
  expect(await post({})).toMatchObject({ status: 202, body: { state: "duplicate" } });
  expect(await events()).toHaveLength(1);
});

test("any kind of text is taken as it is, also with a wrong type or none", async () => {
  for (const [index, type] of ["text/plain", "application/json", "image/png", ""].entries())
    expect(await post({ id: `d-${index}`, body: "not: json", type })).toMatchObject({
      status: 202,
    });
  expect((await events()).length).toBe(4);
});

test("forged, stale, foreign and broken ones are refused, each with its reason, and none is accepted", async () => {
  const cases: [Posted, number, string][] = [
    [{ key: "not the key of the tests" }, 401, "does not fit"],
    [{ at: Date.now() - 400_000 }, 401, "away from the gateway's clock"],
    [{ path: "main/other" }, 404, "There is no such webhook."],
    [{ path: "bare/ci" }, 404, "There is no such webhook."],
    [{ path: "nobody/ci" }, 404, "There is no such webhook."],
    [{ path: "main/none" }, 503, "cannot read this webhook's key"],
    [{ body: "" }, 400, "empty"],
    [{ body: Buffer.from([0xff]) }, 400, "not UTF-8"],
    [{ body: "x".repeat(1024 * 1024 + 1) }, 413, "at most 1048576 bytes"],
  ];
  for (const [wanted, status, words] of cases) {
    const answer = await post(wanted);
    expect(answer, words).toMatchObject({
      status,
      body: { detail: expect.stringContaining(words) },
    });
    expect(answer.retryAfter !== null, words).toBe(status === 503);
    expect(JSON.stringify(answer.body)).not.toContain("nothing/key");
  }
  const bare = await fetch(`${rig.url}/webhooks/main/ci`, { method: "POST" });
  expect(bare.status).toBe(401);
  // The admin's token is no signature.
  const headers = { authorization: `Bearer ${ADMIN}`, "content-type": "application/json" };
  const path = `${rig.url}/webhooks/main/ci`;
  expect((await fetch(path, { method: "POST", headers, body: "{}" })).status).toBe(401);
  expect(await events()).toEqual([]);
});

test("one that shall not wake starts no turn; too many that wait are refused until there is room", async () => {
  expect(await post({ path: "main/quiet" })).toMatchObject({ status: 202 });
  for (let index = 1; index < 50; index += 1)
    expect((await post({ path: "main/quiet", id: `q-${index}` })).status).toBe(202);
  const full = await post({ path: "main/quiet", id: "one more" });
  expect(full).toMatchObject({ status: 429, retryAfter: "5" });
  await rig.putPod("main", bridge.onPeer);
  expect(await post({ id: "wakes" })).toMatchObject({ status: 202 });
  await eventually("a turn", () => bridge.started.length === 1);
  expect(bridge.prompts[0]).toContain("Webhook quiet");
});

test("keys are read once in 10 s however many ask; a changed one holds after that", async () => {
  const kube = new FakeKube();
  let now = 0;
  const options = { kube, namespace: NAMESPACE, logger: silentLogger(), now: () => now };
  const keys = new WebhookSecrets(options);
  const reads = () => kube.calls.filter((call) => call.startsWith("GET")).length;
  await expect(keys.keys(HOOK.secretKeyRef)).rejects.toMatchObject({ code: "Unavailable" });
  await expect(keys.keys(HOOK.secretKeyRef)).rejects.toMatchObject({ code: "Unavailable" });
  expect(reads()).toBe(1);
  putKey(kube, `${KEY}\nthe key that comes next\n`);
  now = 10_000;
  const both = [KEY, "the key that comes next"].map((key) => Buffer.from(key));
  const asked = await Promise.all([1, 2, 3].map(() => keys.keys(HOOK.secretKeyRef)));
  for (const each of asked) expect(each).toEqual(both);
  expect(reads()).toBe(2);
  putKey(kube, "short");
  now = 20_000;
  await expect(keys.keys(HOOK.secretKeyRef)).rejects.toMatchObject({ code: "Unavailable" });
});
