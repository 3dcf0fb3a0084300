import { beforeEach, expect, test } from "vitest";
import { PodTokens } from "#gateway/pod-tokens.ts";
import { FakeKube } from "#test/fakes/kube.ts";
import { podToken } from "#test/support/gateway.ts";

const USER = "system:serviceaccount:default:argus-session";
let kube: FakeKube;
let now: number;
let tokens: PodTokens;
beforeEach(() => {
  kube = new FakeKube();
  now = Date.now();
  tokens = new PodTokens(kube, () => now);
});
const reviews = () => kube.calls.length;

test("concurrent checks of one token are one call, and the answer lives for a minute", async () => {
  const token = podToken("a");
  kube.tokens.set(token, { podUid: "u", user: USER });
  const all = await Promise.all(Array.from({ length: 50 }, () => tokens.check(token)));
  expect(new Set(all.map((each) => each?.podUid))).toEqual(new Set(["u"]));
  expect(reviews()).toBe(1);
  now += 59_000;
  await tokens.check(token);
  expect(reviews()).toBe(1);
  now += 2000;
  await tokens.check(token);
  expect(reviews()).toBe(2);
});

test("a pod that is gone is asked about again at once", async () => {
  const token = podToken("a");
  kube.tokens.set(token, { podUid: "u", user: USER });
  await tokens.check(token);
  tokens.forget("u");
  kube.tokens.clear();
  expect(await tokens.check(token)).toBeUndefined();
});

test("while the API server is away a positive answer lives until the token's own expiry, others are unknown", async () => {
  const token = podToken("a", 600);
  kube.tokens.set(token, { podUid: "u", user: USER });
  await tokens.check(token);
  kube.away = true;
  now += 599_000;
  expect((await tokens.check(token))?.podUid).toBe("u");
  await expect(tokens.check(podToken("b"))).rejects.toMatchObject({ code: "Unavailable" });
  now += 2000;
  expect(await tokens.check(token)).toBeUndefined();
});

test.each([
  ["no JWT", "x"],
  ["too long", `${"a".repeat(9000)}.b.c`],
  ["expired", podToken("a", -1)],
  [
    "for somebody else",
    `e30.${Buffer.from('{"aud":"x","exp":9999999999}').toString("base64url")}.c`,
  ],
])("%s costs no call", async (_, token) => {
  expect(await tokens.check(token)).toBeUndefined();
  expect(reviews()).toBe(0);
});

test("checks of different tokens are bounded", async () => {
  const results = await Promise.allSettled(
    Array.from({ length: 40 }, (_, index) => tokens.check(podToken(`p${index}`))),
  );
  const busy = results.filter((each) => each.status === "rejected");
  expect(busy.length).toBe(8);
  expect(reviews()).toBe(32);
});
