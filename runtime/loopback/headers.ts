import type { IncomingHttpHeaders } from "node:http";
import { type ForwardedHeaders, forwardedHeaders } from "#lib/forwarded-headers.ts";

/** Where the agent shows the secret of this start. */
export const LOOPBACK_SECRET_HEADER = "x-argus-loopback-secret";

const NEVER_UP = new Set([
  "host",
  "authorization",
  "cookie",
  "content-length",
  LOOPBACK_SECRET_HEADER,
]);
const NEVER_DOWN = new Set(["set-cookie"]);

/** What of a request's headers goes on: not the connection's, and nothing that says who asks. */
export function requestHeaders(headers: IncomingHttpHeaders): ForwardedHeaders {
  return forwardedHeaders(headers, NEVER_UP);
}

export function responseHeaders(headers: IncomingHttpHeaders): ForwardedHeaders {
  return forwardedHeaders(headers, NEVER_DOWN);
}
