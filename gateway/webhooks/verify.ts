import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import type { Webhook } from "#crds/webhooks.ts";
import { ArgusError } from "#lib/errors.ts";
import { signed } from "#lib/standard-webhooks.ts";

// Whether a webhook comes from whoever knows its key, and which event it is. Pure.

/** Signatures of one request that are looked at: senders add one for each key while they change it. */
const MAX_SIGNATURES = 8;
const MAX_ID = 256;

export interface WebhookRequest {
  /** Names in lower case. */
  header: (name: string) => string | undefined;
  body: Buffer;
}

export interface Verified {
  /** The same for every repeat of the event; nobody but the sender can make another one of the same request. */
  key: string;
  /** What the sender calls it; empty when it does not say. */
  type: string;
}

/** Throws `Unauthorized` with what is wrong; says nothing about the keys. `now` in ms since the epoch. */
export function verify(
  hook: Pick<Webhook, "name" | "scheme" | "toleranceSeconds">,
  request: WebhookRequest,
  { keys, now }: { keys: readonly Buffer[]; now: number },
): Verified {
  const { key, type } =
    hook.scheme === "GitHub" ? gitHub(request, keys) : standard(hook, request, { keys, now });
  return { key: `webhook/${hook.name}/${key}`, type };
}

/** Id, time and body are signed: the id is the key. */
function standard(
  { toleranceSeconds }: Pick<Webhook, "toleranceSeconds">,
  request: WebhookRequest,
  { keys, now }: { keys: readonly Buffer[]; now: number },
): Verified {
  const id = needed(request, "webhook-id");
  const stamp = needed(request, "webhook-timestamp");
  const offered = needed(request, "webhook-signature").split(" ").slice(0, MAX_SIGNATURES);
  if (id.length > MAX_ID) throw refusal(`webhook-id has more than ${MAX_ID} characters.`);
  if (!/^\d{1,12}$/.test(stamp))
    throw refusal("webhook-timestamp must be seconds since the epoch.");
  const seconds = Number(stamp);
  const made = keys.map((key) => signed(request.body, id, key, seconds * 1000));
  if (
    !matches(
      offered,
      made.map((each) => each["webhook-signature"]),
    )
  )
    throw refusal("webhook-signature does not fit id, timestamp, body and key.");
  const off = Math.round(Math.abs(now / 1000 - seconds));
  if (off > toleranceSeconds) {
    const words = `webhook-timestamp is ${off} s away from the gateway's clock; at most ${toleranceSeconds} s are taken.`;
    throw refusal(words);
  }
  return { key: id, type: "" };
}

/** Only the body is signed: neither id nor time would stop a repeat of it, so the same body is the same event. */
function gitHub(request: WebhookRequest, keys: readonly Buffer[]): Verified {
  const offered = needed(request, "x-hub-signature-256");
  const made = keys.map(
    (key) => `sha256=${createHmac("sha256", key).update(request.body).digest("hex")}`,
  );
  if (!matches([offered], made))
    throw refusal("x-hub-signature-256 does not fit the body and the key.");
  const event = request.header("x-github-event") ?? "";
  const key = createHash("sha256").update(request.body).digest("hex");
  return { key, type: /^[\w.-]{1,64}$/.test(event) ? event : "" };
}

function needed({ header }: WebhookRequest, name: string): string {
  const value = header(name)?.trim();
  if (!value) throw refusal(`The header ${name} is missing.`);
  return value;
}

/** Compares all with all, in constant time. */
function matches(offered: readonly string[], made: readonly string[]): boolean {
  return offered.some((one) => made.some((other) => isSame(Buffer.from(one), Buffer.from(other))));
}

function isSame(one: Buffer, other: Buffer): boolean {
  return one.length === other.length && timingSafeEqual(one, other);
}

function refusal(words: string): ArgusError {
  return new ArgusError("Unauthorized", `${words} Nothing was accepted.`);
}
