import type { IncomingHttpHeaders } from "node:http";
import { type ForwardedHeaders, upstreamHeaders } from "#lib/forwarded-headers.ts";

/** The caller's own credentials and address stay here. */
const NEVER_UP = new Set(["authorization", "cookie", "host", "forwarded", "x-api-key"]);

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
): ForwardedHeaders {
  const kept = upstreamHeaders(headers, NEVER_UP);
  return key ? { ...kept, authorization: `Bearer ${key}` } : kept;
}
