import { createHmac } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { verify } from "#gateway/webhooks/verify.ts";
import { webhookWords } from "#gateway/webhooks/words.ts";
import { signed } from "#lib/standard-webhooks.ts";
import { MAX_EVENT_BYTES } from "#protocol/lane-entry.ts";
import { proofSize } from "#test/support/proof.ts";
import { proofSeed } from "#test/support/seed.ts";

const NOW = Date.parse("2026-01-02T03:04:05Z");
const KEYS = ["the key of the tests", "another key of the tests"].map((key) => Buffer.from(key));
const [KEY = Buffer.alloc(0), OTHER = Buffer.alloc(0)] = KEYS;
const HOOK = { name: "ci", scheme: "Standard", toleranceSeconds: 300 } as const;
const BODY = Buffer.from('{"build":17}');
const request = (headers: Record<string, string>, body = BODY) => ({
  header: (name: string) => headers[name],
  body,
});
const good = (at = NOW, key = KEY) => ({ ...signed(BODY, "d-1", key, at) });
const check = (headers: Record<string, string>, body = BODY, keys = KEYS) =>
  verify(HOOK, request(headers, body), { keys, now: NOW });

test("what its sender signed is taken, by any of the keys, and its id is the key", () => {
  expect(check(good())).toEqual({ key: "webhook/ci/d-1", type: "" });
  expect(check(good(NOW, OTHER))).toEqual({ key: "webhook/ci/d-1", type: "" });
  const [mine, others] = [good(), good(NOW, Buffer.from("a key of nobody here"))];
  const both = `${others["webhook-signature"]} v1a,xyz ${mine["webhook-signature"]}`;
  expect(check({ ...mine, "webhook-signature": both }).key).toBe("webhook/ci/d-1");
});

test("the public example of the specification is taken", () => {
  const key = Buffer.from("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "base64");
  const headers = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
  };
  const body = Buffer.from('{"test": 2432232314}');
  const taken = verify(HOOK, request(headers, body), { keys: [key], now: 1614265330_000 });
  expect(taken.key).toBe("webhook/ci/msg_p5jXN8AQM9LWM0D4loKWxJek");
});

test("a missing header, another key, an old or a future time are refused and say so", () => {
  const cases: [string, Record<string, string>][] = [
    ["webhook-id is missing", { ...good(), "webhook-id": "" }],
    ["webhook-timestamp is missing", { ...good(), "webhook-timestamp": " " }],
    ["webhook-signature is missing", { ...good(), "webhook-signature": "" }],
    ["seconds since the epoch", { ...good(), "webhook-timestamp": "yesterday" }],
    ["does not fit", good(NOW, Buffer.from("a key of nobody here"))],
    ["does not fit", { ...good(), "webhook-signature": "v1," }],
    ["301 s away", good(NOW - 301_000)],
    ["301 s away", good(NOW + 301_000)],
    ["more than 256", { ...signed(BODY, "x".repeat(257), KEY, NOW) }],
  ];
  for (const [words, headers] of cases) expect(() => check(headers), words).toThrow(words);
  expect(check(good(NOW - 300_000)).key).toBe("webhook/ci/d-1");
  expect(() => check(good(), BODY, [])).toThrow("does not fit");
});

test("no change of a signed request is taken", () => {
  const flip = (text: string, at: number, by: number) => {
    const bytes = Buffer.from(text);
    const index = at % bytes.length;
    bytes[index] = ((bytes[index] ?? 0) + by) % 128;
    return bytes.toString("latin1");
  };
  const part = fc.constantFrom("webhook-id", "webhook-timestamp", "webhook-signature", "body");
  fc.assert(
    fc.property(part, fc.nat(100), fc.integer({ min: 1, max: 127 }), (what, at, by) => {
      const headers: Record<string, string> = good();
      const body = what === "body" ? Buffer.from(flip(BODY.toString(), at, by)) : BODY;
      if (what !== "body") headers[what] = flip(headers[what] ?? "", at, by);
      // Space around a value is none of it.
      const isSame = headers[what]?.trim() === { ...good() }[what as "webhook-id"];
      if (!isSame) expect(() => check(headers, body)).toThrow("Nothing was accepted");
    }),
    { numRuns: proofSize(2000, 100_000), seed: proofSeed() },
  );
});

test("GitHub signs the body alone: the same body is the same event under every delivery id", () => {
  const hook = { ...HOOK, scheme: "GitHub" } as const;
  const mac = (key: Buffer) => `sha256=${createHmac("sha256", key).update(BODY).digest("hex")}`;
  const take = (headers: Record<string, string>) =>
    verify(hook, request(headers), { keys: KEYS, now: NOW });
  const first = take({
    "x-hub-signature-256": mac(KEY),
    "x-github-event": "push",
    "x-github-delivery": "1",
  });
  expect(first.type).toBe("push");
  const again = take({ "x-hub-signature-256": mac(OTHER), "x-github-delivery": "2" });
  expect(again).toEqual({ key: first.key, type: "" });
  expect(take({ "x-hub-signature-256": mac(KEY), "x-github-event": "]\n[" }).type).toBe("");
  expect(() => take({})).toThrow("x-hub-signature-256 is missing");
  expect(() => take({ "x-hub-signature-256": "sha256=00" })).toThrow("does not fit");
});

test("the agent is told the body; what is no text or empty is refused, what is long is cut and says so", () => {
  const words = (body: string | Buffer) =>
    webhookWords({ name: "ci", type: "push" }, Buffer.from(body));
  expect(words('{"a":1}')).toBe('Webhook ci (push): {"a":1}');
  expect(() => words(" \n")).toThrow("empty");
  expect(() => words(Buffer.from([0xff, 0xfe]))).toThrow("not UTF-8");
  const long = words("ü".repeat(20_000));
  expect(Buffer.byteLength(long)).toBeLessThanOrEqual(MAX_EVENT_BYTES);
  expect(long).toMatch(/ü… \(cut: the body has 40000 bytes\)$/);
});
