import { afterEach, beforeEach, expect, test } from "vitest";
import { establish } from "#gateway/establish.ts";
import { eventually } from "#test/support/eventually.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";
import { WsClient } from "#test/support/ws-client.ts";

let rig: GatewayRig;
beforeEach(async () => {
  rig = await GatewayRig.start();
});
afterEach(() => rig.stop());

test("a pod that is deleted while its bridge is greeted is not joined", async () => {
  rig.putSession("s");
  const reviewed = Promise.withResolvers<void>();
  const deleted = Promise.withResolvers<void>();
  const request = rig.kube.request.bind(rig.kube);
  rig.kube.request = async (method, path, options) => {
    if (path.endsWith("/tokenreviews")) {
      reviewed.resolve();
      await deleted.promise;
    }
    return request(method, path, options);
  };
  const { bridge } = await rig.putPod("s");
  const client = await WsClient.connect({ url: rig.url, token: ADMIN, query: { session: "s" } });
  await reviewed.promise;
  await rig.deletePod("s");
  await eventually("the gateway saw it go", async () => {
    const answer = await fetch(`${rig.url}/sessions`, {
      headers: { authorization: `Bearer ${ADMIN}` },
    });
    return answer.ok;
  });
  deleted.resolve();
  const waits = await client.waitFor(
    "what it waits for",
    ({ method, params }) => method === "argus/status" && params?.["state"] === "starting",
  );
  expect(String(waits.params?.["message"])).toMatch(/Waiting/);
  expect(client.received.some(({ params }) => params?.["boot"])).toBe(false);
  await eventually("the old connection is given up", () => bridge.peers[0]?.socket.destroyed);
  await client.close();
}, 20_000);

test("a client that waits does not keep a stopping gateway busy", async () => {
  let looks = 0;
  const stopping = AbortSignal.abort();
  const directory = {
    watch: () => () => {},
    session: () => {
      looks += 1;
      if (looks > 100) throw new Error("it never stops to look");
      return undefined;
    },
    podOf: () => undefined,
  };
  const attachment = {
    sessionName: "s",
    gone: new AbortController().signal,
    whenEnded: () => {},
    announce: () => {},
    tell: () => {},
    close: () => {},
  };
  const logger = { error: () => {} };
  const context = { directory, signal: stopping, logger };
  const options = { context, attachment, session: { metadata: { name: "s" }, spec: {} } };
  await establish(options as unknown as Parameters<typeof establish>[0]);
  expect(looks).toBeLessThan(3);
}, 10_000);
