import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from "node:http";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { FastifyInstance } from "fastify";
import { Agent, type Dispatcher } from "undici";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { GatewayContext } from "./context.ts";
import { modelUrl, requestHeaders, responseHeaders } from "./model-headers.ts";
import type { GatewayOptions } from "./options.ts";
import { tokenOf } from "./routes.ts";

const PREFIX = "/openai/v1";
const MAX_BODY_BYTES = 64 * 1024 * 1024;
const CONNECT_TIMEOUT_MS = 10_000;
const HEADERS_TIMEOUT_MS = 120_000;
/** The model may think this long between two bytes. */
const IDLE_TIMEOUT_MS = 600_000;
/** The one host that is known to refuse everybody without a key. */
const NEEDS_KEY = "api.openai.com";

/** `POST /openai/v1/responses`: pods reach the model through here, with a key that they never see. */
export function modelProxy(
  app: FastifyInstance,
  context: () => GatewayContext,
  model: GatewayOptions["model"],
): () => Promise<void> {
  const agent = new Agent({
    connect: { timeout: CONNECT_TIMEOUT_MS },
    headersTimeout: HEADERS_TIMEOUT_MS,
    bodyTimeout: IDLE_TIMEOUT_MS,
  });
  const proxy: Proxy = { agent, model };
  void app.register(async (scope) => {
    // The body is passed on as it comes.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", (_request, _payload, done) => done(null));
    scope.post(`${PREFIX}/responses`, async (request, reply) => {
      const refusal = await refuse(context(), tokenOf(request), {
        model,
        headers: request.headers,
      });
      if (refusal) return reply.code(refusal.status).send(errorBody(refusal.message));
      reply.hijack();
      await forward(proxy, request.raw, reply.raw);
      return reply;
    });
  });
  return () => agent.destroy();
}

interface Proxy {
  agent: Agent;
  model: GatewayOptions["model"];
}

interface Refusal {
  status: number;
  message: string;
}

async function refuse(
  { auth }: GatewayContext,
  token: string | undefined,
  { model, headers }: { model: GatewayOptions["model"]; headers: IncomingHttpHeaders },
): Promise<Refusal | undefined> {
  try {
    const { state } = await auth.pod(token);
    if (state !== "valid")
      return { status: 401, message: "Only session pods may use the model proxy." };
  } catch (error) {
    return { status: 503, message: errorMessage(error) };
  }
  if (Number(headers["content-length"] ?? 0) > MAX_BODY_BYTES) return tooLarge;
  return unconfigured(model);
}

const tooLarge: Refusal = {
  status: 413,
  message: `The request has more than ${MAX_BODY_BYTES} bytes.`,
};

function unconfigured({ upstream, key }: GatewayOptions["model"]): Refusal | undefined {
  if (!upstream)
    return { status: 503, message: "No model is configured: set ARGUS_MODEL_UPSTREAM." };
  if (key || new URL(upstream).hostname !== NEEDS_KEY) return undefined;
  return {
    // Nothing that passes by itself: Codex tries a 5xx five times, with pauses, before it says why.
    status: 400,
    message: "No model key is configured: set ARGUS_MODEL_KEY or OPENAI_API_KEY.",
  };
}

function errorBody(message: string) {
  return { error: { message, type: "argus_gateway_error", param: null, code: null } };
}

/** Streams the request up and the answer down; whoever leaves first ends the other side. */
async function forward(
  { agent, model }: Proxy,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  try {
    const url = modelUrl(model.upstream, (request.url ?? "").slice(PREFIX.length));
    const answer = await agent.request({
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method: "POST",
      headers: requestHeaders(request.headers, model.key),
      body: request.pipe(limited(MAX_BODY_BYTES)),
      signal: gone.signal,
    });
    await relay(answer, response);
  } catch (error) {
    fail(response, gone.signal.aborted ? undefined : problemOf(error));
  }
}

async function relay(answer: Dispatcher.ResponseData, response: ServerResponse): Promise<void> {
  if (answer.statusCode >= 300 && answer.statusCode < 400) {
    await answer.body.dump();
    throw new ArgusError(
      "Unavailable",
      "The model's server answered with a redirect, which is not followed.",
    );
  }
  response.writeHead(answer.statusCode, responseHeaders(answer.headers));
  // The first event may be long in coming; the status is not.
  response.flushHeaders();
  await pipeline(answer.body, response);
}

function problemOf(error: unknown): Refusal {
  if (error instanceof ArgusError && error.code === "TooLarge") return tooLarge;
  if (error instanceof ArgusError) return { status: 502, message: error.message };
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (code === "UND_ERR_HEADERS_TIMEOUT" || code === "UND_ERR_BODY_TIMEOUT") {
    return { status: 504, message: "The model's server did not answer in time." };
  }
  return { status: 502, message: `The model's server is not reachable (${errorMessage(error)}).` };
}

/** An error before the first byte is an answer; later the connection is cut, so that nobody takes half for all. */
function fail(response: ServerResponse, problem: Refusal | undefined): void {
  if (response.destroyed) return;
  if (!problem || response.headersSent) {
    response.destroy();
    return;
  }
  const body = JSON.stringify(errorBody(problem.message));
  response.writeHead(problem.status, { "content-type": "application/json", connection: "close" });
  response.end(body);
}

/** Passes bytes on and fails over the bound. */
function limited(maxBytes: number): Transform {
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length;
      if (bytes <= maxBytes) done(null, chunk);
      else done(new ArgusError("TooLarge", "The request is too long."));
    },
  });
}
