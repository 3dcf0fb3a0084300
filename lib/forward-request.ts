import type { IncomingMessage, ServerResponse } from "node:http";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Dispatcher } from "undici";
import { ArgusError } from "./errors.ts";
import { type ForwardedHeaders, forwardedHeaders } from "./forwarded-headers.ts";

export interface Upstream {
  dispatcher: Dispatcher;
  url: URL;
  /** All that the server gets to see. */
  headers: ForwardedHeaders;
  /** A longer body fails with `TooLarge`. */
  maxBodyBytes: number;
  /**
   * The answer in the server's place, as JSON, when there is none: after `TooLarge`, `Unavailable` (it wanted to send us elsewhere)
   * or what the dispatcher threw.
   */
  refusal: (error: unknown) => { status: number; body: object };
}

const WITHOUT_BODY = new Set(["GET", "HEAD", "DELETE"]);
/** They would speak for the server in our own name. */
const NEVER_DOWN = new Set(["set-cookie", "alt-svc"]);

/**
 * Streams a request up and its answer down, both as they come; whoever leaves first ends the other side. Redirects are not
 * followed: elsewhere the headers would be somebody else's. Never rejects.
 */
export async function forwardRequest(
  upstream: Upstream,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { dispatcher, url, headers, maxBodyBytes, refusal } = upstream;
  const { method = "GET" } = request;
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  try {
    if (Number(request.headers["content-length"] ?? 0) > maxBodyBytes) throw tooLarge(maxBodyBytes);
    const answer = await dispatcher.request({
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method,
      headers,
      body: WITHOUT_BODY.has(method) ? null : request.pipe(limited(maxBodyBytes)),
      signal: gone.signal,
    });
    await relay(answer, response);
  } catch (error) {
    if (gone.signal.aborted) response.destroy();
    else refuse(response, refusal(error));
  }
}

async function relay(answer: Dispatcher.ResponseData, response: ServerResponse): Promise<void> {
  if (answer.statusCode >= 300 && answer.statusCode < 400) {
    await answer.body.dump();
    throw new ArgusError("Unavailable", "it answered with a redirect, which is not followed");
  }
  response.writeHead(answer.statusCode, forwardedHeaders(answer.headers, NEVER_DOWN));
  // The first byte may be long in coming; the status is not.
  response.flushHeaders();
  await pipeline(answer.body, response);
}

/** An error before the first byte is an answer; later the connection is cut, so that nobody takes half for all. */
function refuse(response: ServerResponse, { status, body }: { status: number; body: object }) {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(status, { "content-type": "application/json", connection: "close" });
  response.end(JSON.stringify(body));
}

/** Passes bytes on and fails over the bound. */
function limited(maxBytes: number): Transform {
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes <= maxBytes) done(null, chunk);
      else done(tooLarge(maxBytes));
    },
  });
}

const tooLarge = (maxBytes: number) =>
  new ArgusError("TooLarge", `The request has more than ${maxBytes} bytes.`);
