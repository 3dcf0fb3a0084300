import { createHmac } from "node:crypto";

/** The headers of a signed request; the form is that of Standard Webhooks, so receivers can use its libraries. */
export interface SignedHeaders {
  /** The same for every try: a receiver that knows it has the part. */
  "webhook-id": string;
  /** Seconds since the epoch. */
  "webhook-timestamp": string;
  /** `v1,<base64 of HMAC-SHA256(secret, "<id>.<timestamp>.<body>")>` */
  "webhook-signature": string;
}

const BASE64_PREFIX = "whsec_";

/** The key in bytes: a secret with the prefix `whsec_` is Base64, any other is taken as it is. */
export function keyOf(secret: string): Buffer {
  return secret.startsWith(BASE64_PREFIX)
    ? Buffer.from(secret.slice(BASE64_PREFIX.length), "base64")
    : Buffer.from(secret);
}

/** Pure; `nowMs` in ms since the epoch. */
export function signed(
  body: string | Buffer,
  id: string,
  key: Buffer,
  nowMs: number,
): SignedHeaders {
  const timestamp = String(Math.floor(nowMs / 1000));
  const mac = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest("base64");
  return {
    "webhook-id": id,
    "webhook-timestamp": timestamp,
    "webhook-signature": `v1,${mac}`,
  };
}
