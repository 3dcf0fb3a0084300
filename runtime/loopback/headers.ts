import type { IncomingHttpHeaders, OutgoingHttpHeaders } from "node:http";

/** Where the agent shows the secret of this start. */
export const LOOPBACK_SECRET_HEADER = "x-argus-loopback-secret";

/** They belong to one connection, not to the message; `connection` may name more. */
const HOP_BY_HOP = [
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
];

/** What of a request's headers goes on: not the connection's, and nothing that says who asks. */
export function requestHeaders(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  const own = ["host", "authorization", "cookie", "content-length", LOOPBACK_SECRET_HEADER];
  return without(headers, own);
}

export function responseHeaders(headers: IncomingHttpHeaders): OutgoingHttpHeaders {
  return without(headers, ["set-cookie"]);
}

function without(headers: IncomingHttpHeaders, more: string[]): OutgoingHttpHeaders {
  const named = headers.connection?.toLowerCase().split(/\s*,\s*/) ?? [];
  const dropped = new Set([...HOP_BY_HOP, ...more, ...named]);
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !dropped.has(name)));
}
