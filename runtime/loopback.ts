import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Logger } from "#lib/logger.ts";
import type { Running } from "#lib/running.ts";
import { BodyBudget } from "./loopback/body.ts";
import { Forwarder } from "./loopback/forward.ts";
import { LOOPBACK_SECRET_HEADER } from "./loopback/headers.ts";
import { refuse } from "./loopback/refuse.ts";

export interface LoopbackOptions {
  gatewayUrl: string;
  /** Projected token of the pod; rotates, so it is read for each request. */
  tokenFile: string;
  logger: Logger;
  /** How long a request waits for a gateway that is away; default 120 s. */
  holdMs?: number;
}

export interface Loopback extends Running {
  port: number;
  /** Of this start of the bridge; demanded in {@link LOOPBACK_SECRET_HEADER}. */
  secret: string;
}

const MAX_CONNECTIONS = 64;
const LIMITS = { maxHeaderSize: 64 * 1024, headersTimeout: 10_000, requestTimeout: 120_000 };

/**
 * The agent's way to the gateway: `/openai/v1/*`, `/mcp` and `/mcp/servers/*` on 127.0.0.1, with the pod's token added, so that the agent's
 * environment holds none. A request waits while the gateway is away and is repeated until its first response byte.
 * A convenience, not a boundary: the agent runs as the same user. Errors are JSON: `{"error":{"message","type","code"}}`.
 */
export async function startLoopback(
  options: LoopbackOptions,
  signal: AbortSignal,
): Promise<Loopback> {
  const secret = randomBytes(32).toString("base64url");
  const forwarder = new Forwarder(options, new BodyBudget(), signal);
  let port = 0;
  const server = createServer(LIMITS, (request, response) => {
    const refusal = refusalOf(request, port, secret);
    if (refusal) return refuse(response, refusal.status, refusal.message);
    serve(forwarder, request, response, options.logger);
  });
  server.maxConnections = MAX_CONNECTIONS;
  server.listen(0, "127.0.0.1");
  await once(server, "listening", { signal });
  port = (server.address() as AddressInfo).port;
  const closed = once(server, "close").then(() => forwarder.close());
  const stop = () => {
    server.close();
    server.closeAllConnections();
  };
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  return { port, secret, closed };
}

function serve(
  forwarder: Forwarder,
  request: IncomingMessage,
  response: ServerResponse,
  logger: Logger,
): void {
  forwarder.forward(request, response).catch((error: unknown) => {
    logger.error({ err: error }, "request on the loopback port failed");
    response.destroy();
  });
}

interface Refusal {
  status: number;
  message: string;
}

/** A browser page must not reach the port, be it by its own origin or by a name that it made point here. */
function refusalOf(request: IncomingMessage, port: number, secret: string): Refusal | undefined {
  const { host, origin } = request.headers;
  if (origin !== undefined) return { status: 403, message: "requests of web pages are refused" };
  if (host !== `127.0.0.1:${port}` && host !== `localhost:${port}`) {
    return { status: 403, message: "the Host header names another server" };
  }
  if (!sameSecret(request.headers[LOOPBACK_SECRET_HEADER], secret)) {
    return { status: 401, message: `the header ${LOOPBACK_SECRET_HEADER} is missing or wrong` };
  }
  if (!isForwarded(pathOf(request.url, port))) {
    return { status: 404, message: "only /openai/v1/ and /mcp lead to the gateway" };
  }
  return undefined;
}

/** With `..` resolved, as the gateway will read it. */
const pathOf = (url: string | undefined, port: number) =>
  URL.parse(url ?? "", `http://127.0.0.1:${port}`)?.pathname ?? "";

const isForwarded = (path: string) =>
  path.startsWith("/openai/v1/") || path === "/mcp" || path.startsWith("/mcp/servers/");

function sameSecret(given: string | string[] | undefined, secret: string): boolean {
  if (typeof given !== "string") return false;
  const hash = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(hash(given), hash(secret));
}
