import type { IncomingHttpHeaders } from "node:http";

export type ForwardedHeaders = Record<string, string | string[]>;

/** RFC 9110 §7.6.1: they belong to one connection, not to the message; `connection` may name more. */
const HOP_BY_HOP = new Set([
  "connection",
  "expect",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** What of a message's headers (lower-case names, as Node gives them) a proxy passes on, without `dropped`. */
export function forwardedHeaders(
  headers: IncomingHttpHeaders,
  dropped: ReadonlySet<string>,
): ForwardedHeaders {
  const named = new Set(headers.connection?.toLowerCase().split(/\s*,\s*/));
  const passes = (name: string) => !HOP_BY_HOP.has(name) && !dropped.has(name) && !named.has(name);
  const kept = Object.entries(headers).filter(
    (entry): entry is [string, string | string[]] => entry[1] !== undefined && passes(entry[0]),
  );
  return Object.fromEntries(kept);
}

/** The same of a request that goes on in our own name: whoever came to us is nobody's business there. */
export function upstreamHeaders(
  headers: IncomingHttpHeaders,
  dropped: ReadonlySet<string>,
): ForwardedHeaders {
  const kept = Object.entries(forwardedHeaders(headers, dropped));
  return Object.fromEntries(kept.filter(([name]) => !name.startsWith("x-forwarded-")));
}
