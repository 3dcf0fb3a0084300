import { beforeEach, expect, test } from "vitest";
import type { ArgusSession } from "#crds/kinds.ts";
import { grantHolds, issueClientToken, readClientToken } from "#gateway/client-token.ts";
import { KeyRing } from "#gateway/key-ring.ts";
import { PUBLISH_LEAD_MS } from "#gateway/keys.ts";
import { type GatewayState, openGatewayState } from "#gateway/state/gateway-state.ts";
import { FakeKube } from "#test/fakes/kube.ts";
import { MemoryStore } from "#test/fakes/memory-store.ts";

let store: MemoryStore;
let state: GatewayState;
let now: number;
let keys: KeyRing;
const kube = new FakeKube();
const kidOf = (token: string) =>
  JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString()).kid as string;
beforeEach(async () => {
  store = new MemoryStore();
  state = await openGatewayState(store);
  now = Date.UTC(2026, 0, 1);
  keys = new KeyRing(state, () => now);
  await keys.ensure();
});

test("a rotated key takes over ten minutes after it was published, not after it was made", async () => {
  await keys.publish(kube, "ns");
  const first = kidOf(await keys.helloToken("pod", "client"));
  const second = await keys.rotate();
  now += 2 * PUBLISH_LEAD_MS;
  expect(kidOf(await keys.helloToken("pod", "client"))).toBe(first);
  await keys.publish(kube, "ns");
  now += PUBLISH_LEAD_MS - 1;
  expect(kidOf(await keys.helloToken("pod", "client"))).toBe(first);
  now += 1;
  expect(kidOf(await keys.helloToken("pod", "client"))).toBe(second);
});

test("publishing again changes nothing and commits nothing", async () => {
  await keys.publish(kube, "ns");
  const { commits } = store;
  await keys.publish(kube, "ns");
  expect(store.commits).toBe(commits);
});

test("rotations are bounded", async () => {
  for (let index = 0; index < 15; index += 1) await keys.rotate();
  await expect(keys.rotate()).rejects.toMatchObject({ code: "Busy" });
});

const session = (uid: string, tokenGeneration = 0) =>
  ({ metadata: { name: "s", uid }, spec: { tokenGeneration } }) as unknown as ArgusSession;

test("a client token lives to its expiry, through rotations, and opens one object of one generation", async () => {
  const request = { kind: "client" as const, sessions: ["s"], ttlSeconds: 86_400 };
  const { token } = await issueClientToken(request, { keys, session: () => session("u1", 2), now });
  await keys.publish(kube, "ns");
  await keys.rotate();
  await keys.publish(kube, "ns");
  now += 86_399_000;
  await keys.tidy();
  const read = await readClientToken(token, keys);
  const grant = read?.grants[0];
  expect(grant).toEqual({ name: "s", uid: "u1", generation: 2 });
  expect(grant && grantHolds(grant, session("u1", 2))).toBe(true);
  expect(grant && grantHolds(grant, session("u1", 3))).toBe(false);
  expect(grant && grantHolds(grant, session("u2", 2))).toBe(false);
  now += 2000;
  expect(await readClientToken(token, keys)).toBeUndefined();
  expect(state.current.keys.length).toBe(2);
  now += PUBLISH_LEAD_MS;
  await keys.tidy();
  expect(state.current.keys.length).toBe(1);
});

test("a hello's token is not a client's, and a changed byte is nobody's", async () => {
  expect(
    await readClientToken(await keys.helloToken("argus-client", "client"), keys),
  ).toBeUndefined();
  const request = { kind: "client" as const, sessions: ["s"], ttlSeconds: 60 };
  const { token } = await issueClientToken(request, { keys, session: () => session("u"), now });
  const at = token.indexOf(".") + 5;
  const changed = token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
  expect(await readClientToken(token, keys)).toBeDefined();
  expect(await readClientToken(changed, keys)).toBeUndefined();
});
