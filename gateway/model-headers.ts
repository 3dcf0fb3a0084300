import type { IncomingHttpHeaders } from "node:http";

/** RFC 9110 §7.6.1, and what belongs to one connection. */
const HOP_BY_HOP = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);
/** The caller's own credentials and address stay here. */
const NEVER_UP = new Set(["authorization", "cookie", "host", "expect", "forwarded", "x-api-key"]);
const NEVER_DOWN = new Set(["set-cookie", "alt-svc"]);

/** `https://host/v1` and `/responses?x=1` → `https://host/v1/responses?x=1`; our own `token` parameter is dropped. */
export function modelUrl(upstream: string, rest: string): URL {
  const url = new URL(upstream.replace(/\/+$/, "") + rest);
  url.searchParams.delete("token");
  return url;
}

/** What the model's server gets to see: the caller's headers without its credentials, with our key. */
export function requestHeaders(
  headers: IncomingHttpHeaders,
  key: string | undefined,
): Record<string, string | string[]> {
  const kept = keep(headers, NEVER_UP);
  for (const name of Object.keys(kept)) if (name.startsWith("x-forwarded-")) delete kept[name];
  return key ? { ...kept, authorization: `Bearer ${key}` } : kept;
}

export function responseHeaders(headers: IncomingHttpHeaders): Record<string, string | string[]> {
  return keep(headers, NEVER_DOWN);
}

function keep(
  headers: IncomingHttpHeaders,
  dropped: Set<string>,
): Record<string, string | string[]> {
  const named = new Set(
    (headers.connection ?? "").split(",").map((name) => name.trim().toLowerCase()),
  );
  const kept: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase();
    if (HOP_BY_HOP.has(lower) || dropped.has(lower) || named.has(lower)) continue;
    if (value !== undefined) kept[lower] = value;
  }
  return kept;
}
