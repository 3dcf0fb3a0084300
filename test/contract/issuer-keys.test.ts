import { readFile, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parse, stringify } from "yaml";
import { createKubeClient } from "#cluster/client.ts";
import { pods, serviceAccounts } from "#cluster/resources.ts";
import type { KubeClient, KubeObject } from "#cluster/types.ts";
import { PodTokens } from "#gateway/pod-tokens.ts";
import { silentLogger } from "#lib/logger.ts";
import { GATEWAY_AUDIENCE } from "#protocol/pod.ts";
import { ControllerRig, NAMESPACE } from "../support/controller-rig.ts";

const ACCOUNT = "argus-session";
let rig: ControllerRig;
/** The API as a service account sees it that may create no TokenReview. */
let kube: KubeClient;
let podUid: string;

beforeAll(async () => {
  rig = await ControllerRig.start();
  const account = { apiVersion: "v1", kind: "ServiceAccount", metadata: named(ACCOUNT) };
  await rig.kube.create(serviceAccounts, account);
  const container = { name: "agent", image: "none" };
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: named("p"),
    spec: { containers: [container] },
  };
  podUid = (await rig.kube.create<KubeObject>(pods, pod)).metadata.uid ?? "";
  const config = parse(await readFile(rig.kubeconfig, "utf8"));
  config.users[0].user = { token: await tokenFor([]) };
  await writeFile(`${rig.kubeconfig}.account`, stringify(config));
  kube = await createKubeClient({
    kubeconfig: `${rig.kubeconfig}.account`,
    logger: silentLogger(),
  });
});
afterAll(async () => {
  await kube.close();
  await rig.stop();
});

const named = (name: string) => ({ name, namespace: NAMESPACE });

async function tokenFor(audiences: string[], bound = true): Promise<string> {
  const boundObjectRef = { kind: "Pod", apiVersion: "v1", name: "p", uid: podUid };
  const path = `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/${ACCOUNT}/token`;
  const spec = { audiences, expirationSeconds: 600, ...(bound ? { boundObjectRef } : {}) };
  const answer = await rig.kube.request("POST", path, { body: { spec } });
  return ((await answer.body.json()) as { status: { token: string } }).status.token;
}

test("without the right to review, a pod's token is checked by the cluster's keys", async () => {
  const review = await kube.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {
    body: { spec: { token: "x" } },
  });
  await review.body.dump();
  expect(review.status).toBe(403);
  const user = `system:serviceaccount:${NAMESPACE}:${ACCOUNT}`;
  const token = await tokenFor([GATEWAY_AUDIENCE]);
  expect(await new PodTokens(kube).check(token)).toEqual({ podUid, user });
});

test("a token for somebody else, of no pod, expired or with another signature names nobody", async () => {
  const good = await tokenFor([GATEWAY_AUDIENCE]);
  const [head, body] = good.split(".");
  const forged = `${head}.${body}.${"A".repeat(86)}`;
  const unbound = await tokenFor([GATEWAY_AUDIENCE], false);
  const tokens = new PodTokens(kube);
  for (const token of [forged, unbound, await tokenFor(["other"])]) {
    expect(await tokens.check(token)).toBeUndefined();
  }
  const later = new PodTokens(kube, () => Date.now() + 700_000);
  expect(await later.check(good)).toBeUndefined();
});

test("where the keys cannot be read either, nobody can say", async () => {
  const blind: KubeClient = {
    ...kube,
    request: (method, path, options) =>
      kube.request(method, path.startsWith("/openid") ? "/apis/nothing/v1/x" : path, options),
  };
  const token = await tokenFor([GATEWAY_AUDIENCE]);
  await expect(new PodTokens(blind).check(token)).rejects.toMatchObject({ code: "Unavailable" });
});
