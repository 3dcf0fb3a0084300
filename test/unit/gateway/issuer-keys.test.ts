import { exportJWK, generateKeyPair, type JWK, SignJWT } from "jose";
import { beforeEach, expect, test } from "vitest";
import type { KubeResponse, RequestOptions } from "#cluster/types.ts";
import { PodTokens } from "#gateway/pod-tokens.ts";
import { FakeKube } from "#test/fakes/kube.ts";

const ISSUER = "https://kubernetes.default.svc";
const USER = "system:serviceaccount:default:argus-session";

/** An API server that lets nobody ask for reviews; its keys can be read unless told otherwise. */
class NoReviews extends FakeKube {
  keys: JWK[] = [];
  readable = true;
  asked: string[] = [];

  override async request(
    method: string,
    path: string,
    options: RequestOptions = {},
  ): Promise<KubeResponse> {
    if (!/tokenreviews$|openid/.test(path)) return super.request(method, path, options);
    this.asked.push(path.slice(path.lastIndexOf("/") + 1));
    const said = path.endsWith("jwks") ? { keys: this.keys } : { issuer: ISSUER };
    const status = path.endsWith("tokenreviews") || !this.readable ? 403 : 200;
    const body = {
      json: async () => said,
      dump: async () => {},
      [Symbol.asyncIterator]: () => (async function* (): AsyncGenerator<Buffer> {})(),
    };
    return { status, headers: {}, body };
  }
}

interface Signer {
  key: Parameters<SignJWT["sign"]>[0];
  kid: string;
}

let kube: NoReviews;
let tokens: PodTokens;
let now: number;
let signer: Signer;
async function addKey(kid: string): Promise<Signer> {
  const { publicKey, privateKey } = await generateKeyPair("RS256");
  kube.keys = [...kube.keys, { ...(await exportJWK(publicKey)), kid, alg: "RS256" }];
  return { key: privateKey, kid };
}
beforeEach(async () => {
  kube = new NoReviews();
  now = Date.now();
  tokens = new PodTokens(kube, () => now);
  signer = await addKey("one");
});

function sign(
  { key, kid }: Signer,
  change: { audience?: string; issuer?: string; pod?: object } = {},
) {
  const pod = change.pod ?? { name: "main-0", uid: "u" };
  return new SignJWT({ sub: USER, "kubernetes.io": { namespace: "default", pod } })
    .setProtectedHeader({ alg: "RS256", kid })
    .setIssuer(change.issuer ?? ISSUER)
    .setAudience(change.audience ?? "argus-gateway")
    .setExpirationTime(Math.floor(now / 1000) + 600)
    .sign(key);
}

test("where reviews are forbidden the issuer's keys say whose token it is", async () => {
  expect(await tokens.check(await sign(signer))).toEqual({ podUid: "u", user: USER });
  expect(kube.asked).toEqual(["tokenreviews", "openid-configuration", "jwks"]);
  // Neither the review nor the keys are asked for again for the next token.
  await tokens.check(await sign(signer, { pod: { uid: "v" } }));
  expect(kube.asked.length).toBe(3);
  now += 11 * 60_000;
  await tokens.check(await sign(signer, { pod: { uid: "w" } }));
  expect(kube.asked.slice(3)).toEqual(["tokenreviews"]);
});

test("a token of another issuer, for others, without a pod or by another key is refused", async () => {
  await tokens.check(await sign(signer));
  const stranger = { key: (await generateKeyPair("RS256")).privateKey, kid: "one" };
  const bad = [
    sign(signer, { issuer: "https://elsewhere" }),
    sign(signer, { audience: "vault" }),
    sign(signer, { pod: {} }),
    sign(stranger),
  ];
  for (const token of await Promise.all(bad)) expect(await tokens.check(token)).toBeUndefined();
});

test("a key that is newer than the list is read, at most every ten seconds", async () => {
  await tokens.check(await sign(signer));
  const next = await addKey("two");
  const token = await sign(next);
  expect(await tokens.check(token)).toBeUndefined();
  now += 11_000;
  expect(await tokens.check(token)).toEqual({ podUid: "u", user: USER });
});

test("keys that may not be read either are told with what to grant, and asked for again", async () => {
  kube.readable = false;
  const token = await sign(signer);
  await expect(tokens.check(token)).rejects.toMatchObject({
    code: "Unavailable",
    message: expect.stringContaining("system:service-account-issuer-discovery"),
  });
  kube.readable = true;
  expect(await tokens.check(token)).toEqual({ podUid: "u", user: USER });
});
