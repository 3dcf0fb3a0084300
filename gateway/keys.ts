import { generateKeyPairSync, randomBytes } from "node:crypto";
import { HELLO_TTL_SECONDS } from "#protocol/bridge.ts";
import type { GatewayKey } from "#protocol/document.ts";

/** A kubelet brings a changed ConfigMap to its pods within about two minutes; this leaves room. */
export const PUBLISH_LEAD_MS = 10 * 60_000;
/** A retired key stays published this long: the last token's life and a clock that is off. */
const VERIFY_TAIL_MS = HELLO_TTL_SECONDS * 1000 + 5 * 60_000;

/** A new key pair, not published yet. */
export function newKey(now: number): GatewayKey {
  const pair = generateKeyPairSync("ed25519", {
    publicKeyEncoding: { type: "spki", format: "pem" },
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
  });
  return {
    id: `k-${now.toString(36)}-${randomBytes(4).toString("hex")}`,
    publicKey: pair.publicKey,
    privateKey: pair.privateKey,
    createdAt: now,
    publishedAt: null,
    retiredAt: null,
    neededUntil: 0,
  };
}

/** The key that signs now: the newest that pods have had time to learn, else the oldest (the very first). Keys stand in the order of their making. */
export function signingKey(keys: readonly GatewayKey[], now: number): GatewayKey | undefined {
  const known = keys.filter(
    ({ publishedAt, retiredAt }) =>
      retiredAt === null && publishedAt !== null && publishedAt + PUBLISH_LEAD_MS <= now,
  );
  return known.at(-1) ?? keys.find(({ retiredAt }) => retiredAt === null);
}

/** What pods must be able to verify with: key id → SPKI PEM. */
export function publishedKeys(keys: readonly GatewayKey[], now: number): Record<string, string> {
  const wanted = keys.filter(
    ({ retiredAt }) => retiredAt === null || retiredAt + VERIFY_TAIL_MS > now,
  );
  return Object.fromEntries(wanted.map(({ id, publicKey }) => [id, publicKey]));
}

/** Retires the keys before the one that signs, and forgets those that can verify nothing any more. Equal = the same array. */
export function tidyKeys(keys: GatewayKey[], now: number): GatewayKey[] {
  const signer = keys.findIndex((key) => key === signingKey(keys, now));
  const retired = keys.map((key, index) =>
    key.retiredAt === null && index < signer ? { ...key, retiredAt: now } : key,
  );
  const left = retired.filter(
    ({ retiredAt, neededUntil }) =>
      retiredAt === null || retiredAt + VERIFY_TAIL_MS > now || neededUntil > now,
  );
  const same = left.length === keys.length && left.every((key, index) => key === keys[index]);
  return same ? keys : left;
}
