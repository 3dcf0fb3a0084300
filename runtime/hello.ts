import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { compactVerify, decodeProtectedHeader, importSPKI } from "jose";
import { type LineScan, scanLine, stringAt, valueAt } from "#lib/scan.ts";
import {
  HELLO_TTL_SECONDS,
  HelloClaims,
  HelloParams,
  type HelloRefusal,
} from "#protocol/bridge.ts";
import type { UsedTokens } from "./used-tokens.ts";

/** Difference of clocks that is forgiven, both ways. */
const SKEW_MS = 5_000;
/** A key id is a file name in the keys folder. */
const KEY_ID = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

export interface HelloContext {
  keysFolder: string;
  podUid: string;
  used: UsedTokens;
  /** ms since the epoch. */
  now: number;
}

export type HelloCheck =
  | { ok: true; id: Buffer; params: HelloParams; epoch: number }
  | { ok: false; id: Buffer | null; refusal: HelloRefusal; skewMs?: number };

/** Checks a peer's first line: form, signature by a published key, audience, time, role, first use. The epoch is the caller's to judge. */
export async function checkHello(line: Buffer, context: HelloContext): Promise<HelloCheck> {
  const scan = scanLine(line);
  const id = idOf(line, scan);
  const refuse = (reason: HelloRefusal["reason"], skewMs?: number): HelloCheck => {
    const refusal = { reason, now: context.now };
    return skewMs === undefined ? { ok: false, id, refusal } : { ok: false, id, refusal, skewMs };
  };
  const params = HelloParams.safeParse(valueAt(line, scan?.params));
  const isHello = scan && stringAt(line, scan.method) === "bridge/hello";
  if (!isHello || !id || !params.success) return refuse("malformed");
  const claims = await verifiedClaims(params.data.token, context.keysFolder);
  if (!claims) return refuse("signature");
  if (claims.aud !== context.podUid) return refuse("audience");
  const skewMs = skewOf(claims, context.now);
  if (skewMs !== undefined) return refuse("time", skewMs);
  if (claims.role !== params.data.role) return refuse("role");
  if (claims.jti === undefined) return refuse("malformed");
  const refusal = context.used.use(claims.jti, claims.exp * 1000 + SKEW_MS, context.now);
  if (refusal) return refuse(refusal);
  return { ok: true, id, params: params.data, epoch: claims.epoch };
}

function idOf(line: Buffer, scan: LineScan | undefined): Buffer | null {
  return scan?.id ? Buffer.from(line.subarray(scan.id.start, scan.id.end)) : null;
}

/** How far our clock is ahead of the signer's when the token is not valid now; undefined = it is valid. */
function skewOf({ iat, exp }: HelloClaims, now: number): number | undefined {
  const tooLong = exp - iat > HELLO_TTL_SECONDS;
  const isNow = now < exp * 1000 + SKEW_MS && now > iat * 1000 - SKEW_MS;
  return isNow && !tooLong ? undefined : now - iat * 1000;
}

/** Undefined when no published key signed it. Keys are read each time: hellos are rare, and a rotated key counts at once. */
async function verifiedClaims(token: string, keysFolder: string): Promise<HelloClaims | undefined> {
  try {
    const { kid } = decodeProtectedHeader(token);
    if (!kid || !KEY_ID.test(kid)) return undefined;
    const pem = await readFile(join(keysFolder, kid), "utf8");
    const key = await importSPKI(pem, "EdDSA");
    const { payload } = await compactVerify(token, key, { algorithms: ["EdDSA"] });
    const claims = HelloClaims.safeParse(JSON.parse(Buffer.from(payload).toString("utf8")));
    return claims.success ? claims.data : undefined;
  } catch {
    return undefined;
  }
}
