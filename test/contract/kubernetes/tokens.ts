import { expect } from "vitest";
import type { Case } from "../kubernetes.ts";
import { type Json, pod, type Tools, textOf } from "./tools.ts";

async function boundToken(t: Tools, audiences: string[]) {
  const ns = await t.namespace();
  const made = (await t.post(`/api/v1/namespaces/${ns}/pods`, pod("p"))).body;
  const boundObjectRef = { kind: "Pod", apiVersion: "v1", name: "p", uid: made.metadata?.uid };
  const path = `/api/v1/namespaces/${ns}/serviceaccounts/default/token`;
  const { body } = await t.post(path, {
    spec: { audiences, expirationSeconds: 600, boundObjectRef },
  });
  return { ns, uid: textOf(made.metadata?.uid), token: textOf(body.status?.token), body };
}

const review = async (t: Tools, token: string, audiences: string[]): Promise<Json> =>
  (await t.post("/apis/authentication.k8s.io/v1/tokenreviews", { spec: { token, audiences } }))
    .body;

export function tokenCases(add: Case): void {
  add("a TokenRequest answers a token with its expiry", async (t) => {
    const { body, token } = await boundToken(t, ["argus-gateway"]);
    expect(token.split(".")).toHaveLength(3);
    expect(Date.parse(textOf(body.status?.expirationTimestamp))).toBeGreaterThan(Date.now());
  });

  add("a TokenReview names the account, the pod and the audience", async (t) => {
    const { ns, uid, token } = await boundToken(t, ["argus-gateway"]);
    const { status } = await review(t, token, ["argus-gateway"]);
    expect(status).toMatchObject({
      authenticated: true,
      audiences: ["argus-gateway"],
      user: {
        username: `system:serviceaccount:${ns}:default`,
        groups: expect.arrayContaining(["system:serviceaccounts", `system:serviceaccounts:${ns}`]),
        extra: {
          "authentication.kubernetes.io/pod-name": ["p"],
          "authentication.kubernetes.io/pod-uid": [uid],
        },
      },
    });
  });

  add("a TokenReview for another audience fails", async (t) => {
    const { token } = await boundToken(t, ["argus-gateway"]);
    const { status } = await review(t, token, ["other"]);
    expect(status?.authenticated ?? false).toBe(false);
    expect(status?.error).toBeTruthy();
  });

  add("a TokenReview of a broken token fails", async (t) => {
    const { token } = await boundToken(t, ["argus-gateway"]);
    const broken = `${token.slice(0, -4)}AAAA`;
    expect((await review(t, broken, ["argus-gateway"])).status?.authenticated ?? false).toBe(false);
  });

  add("a token dies with its pod", async (t) => {
    const { ns, token } = await boundToken(t, ["argus-gateway"]);
    await t.delete(`/api/v1/namespaces/${ns}/pods/p`, { gracePeriodSeconds: 0 });
    await t.until(
      async () => !((await review(t, token, ["argus-gateway"])).status?.authenticated ?? false),
    );
  });

  add("a namesake of the pod does not revive its token", async (t) => {
    const { ns, token } = await boundToken(t, ["argus-gateway"]);
    await t.delete(`/api/v1/namespaces/${ns}/pods/p`, { gracePeriodSeconds: 0 });
    expect((await t.post(`/api/v1/namespaces/${ns}/pods`, pod("p"))).status).toBe(201);
    await t.until(
      async () => !((await review(t, token, ["argus-gateway"])).status?.authenticated ?? false),
    );
  });

  add("a token for another audience is refused by the API itself", async (t) => {
    const { token } = await boundToken(t, ["argus-gateway"]);
    expect((await t.get("/api/v1/pods", { token })).status).toBe(401);
  });

  add("a pod's token for the API knows itself and may do nothing", async (t) => {
    const { ns, token } = await boundToken(t, []);
    const path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    const who = await t.post(path, {}, { token });
    expect(who.body.status?.userInfo?.username).toBe(`system:serviceaccount:${ns}:default`);
    const { status, body } = await t.get(`/api/v1/namespaces/${ns}/secrets`, { token });
    expect([status, body.reason]).toEqual([403, "Forbidden"]);
  });

  add("a TokenRequest for a missing account or a short time is refused", async (t) => {
    const path = `/api/v1/namespaces/${await t.namespace()}/serviceaccounts`;
    expect((await t.post(`${path}/nobody/token`, { spec: {} })).status).toBe(404);
    expect((await t.post(`${path}/default/token`, { spec: { expirationSeconds: 5 } })).status).toBe(
      422,
    );
  });

  add("the admin may do everything", async (t) => {
    const path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    const { body } = await t.post(path, {
      spec: { resourceAttributes: { verb: "delete", resource: "pods" } },
    });
    expect(body.status?.allowed).toBe(true);
  });
}
