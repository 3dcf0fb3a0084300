import { createHmac } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { webhookSettings } from "#cli/config/webhook.ts";
import { freePort } from "#cli/up/ports.ts";
import { silentLogger } from "#lib/logger.ts";
import { keyOf, signed } from "#lib/standard-webhooks.ts";
import { eventually } from "#test/support/eventually.ts";
import { ADMIN, GatewayRig } from "#test/support/gateway.ts";
import { MAX_RETRY_AFTER_MS, outcomeOf } from "#webhook/outcome.ts";
import { cutUp, startWebhook, urlFor } from "#webhook/webhook.ts";

const NOW = Date.parse("2026-01-02T03:04:05Z");
const answer = (status: number, retryAfter?: string) =>
  outcomeOf({ status, retryAfter }, "ref", NOW);

test("an answer is sent, refused or not sent, with the pause that it asks for", () => {
  expect(answer(200)).toEqual({ state: "sent", ref: "ref" });
  expect(answer(204)).toEqual({ state: "sent", ref: "ref" });
  for (const status of [400, 401, 403, 404, 410, 422])
    expect(answer(status)).toMatchObject({ state: "refused" });
  expect(answer(410)).toMatchObject({ reason: "the receiver answered 410: gone" });
  for (const status of [302, 408, 425, 429, 500, 503])
    expect(answer(status)).toEqual({
      state: "notSent",
      reason: `the receiver answered ${status}`,
    });
  expect(answer(429, "35")).toMatchObject({ retryAfterMs: 35_000 });
  expect(answer(503, "Fri, 02 Jan 2026 03:05:05 GMT")).toMatchObject({ retryAfterMs: 60_000 });
  expect(answer(503, "yesterday")).not.toHaveProperty("retryAfterMs");
  expect(answer(429, "999999999")).toMatchObject({ retryAfterMs: MAX_RETRY_AFTER_MS });
});

test("the signature is over id, time and body, as receivers check it", () => {
  const secret = "whsec_c2VjcmV0IG9mIHRoZSB0ZXN0cw==";
  const headers = signed("{}", "d.0", keyOf(secret), NOW);
  const mac = createHmac("sha256", "secret of the tests").update(`d.0.${NOW / 1000}.{}`);
  expect(headers).toEqual({
    "webhook-id": "d.0",
    "webhook-timestamp": String(NOW / 1000),
    "webhook-signature": `v1,${mac.digest("base64")}`,
  });
  expect(keyOf("plain words").toString()).toBe("plain words");
});

test("the parts are the text, whole characters, the same each time", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme", maxLength: 40 }), fc.nat(4000), (piece, times) => {
      const text = piece.repeat(times).slice(0, 200_000);
      const parts = cutUp(text);
      expect(parts.join("")).toBe(text);
      expect(parts.length).toBeGreaterThan(0);
      for (const part of parts) expect(part.isWellFormed() || !text.isWellFormed()).toBe(true);
    }),
    { numRuns: 200 },
  );
});

test("the first route that matches is taken; settings are read from words", () => {
  const set = (urls: string) =>
    webhookSettings({ ARGUS_WEBHOOK_URLS: urls, ARGUS_WEBHOOK_SECRET: "0123456789abcdef" });
  const { ARGUS_WEBHOOK_URLS: routes } = set(
    "team-*=https://a.example/x?y=1 lone=http://b.example/ https://c.example/",
  );
  expect(urlFor(routes, "team-1")).toBe("https://a.example/x?y=1");
  expect(urlFor(routes, "lone")).toBe("http://b.example/");
  expect(urlFor(routes, "other")).toBe("https://c.example/");
  expect(urlFor([], "other")).toBeUndefined();
  expect(() => set("nonsense")).toThrow("ARGUS_WEBHOOK_URLS");
  expect(() => webhookSettings({})).toThrow("ARGUS_WEBHOOK_SECRET");
});

test("its probes tell whether it lives, and what it waits for until the gateway has answered", async () => {
  const rig = await GatewayRig.start();
  const { url } = rig;
  await rig.stopGateway();
  const stop = new AbortController();
  const port = await freePort(0, "--port");
  const routes = [{ chat: "*", url: "http://127.0.0.1:9/" }];
  const gateway = { gatewayUrl: url, token: async () => ADMIN, channel: "hook", adapter: "one" };
  const facts = { routes, secret: "a key of sixteen or more", parallel: 1, logger: silentLogger() };
  const listen = { host: "127.0.0.1", port };
  const { closed } = await startWebhook({ ...gateway, ...facts, listen }, stop.signal);
  const probe = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    return [response.status, await response.text()];
  };
  expect(await probe("/livez")).toEqual([200, "ok\n"]);
  expect(await probe("/readyz")).toEqual([503, "The gateway has not answered yet.\n"]);
  await rig.startGateway({ port: Number(new URL(url).port) });
  await eventually("it is ready", async () => (await probe("/readyz"))[0] === 200);
  stop.abort();
  await closed;
  await expect(probe("/livez")).rejects.toThrow();
  await rig.stop();
});
