import type { IncomingMessage } from "node:http";
import type { FastifyInstance } from "fastify";
import { Agent } from "undici";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import { forwardRequest, type Upstream } from "#lib/forward-request.ts";
import type { GatewayContext } from "./context.ts";
import { modelUrl, requestHeaders } from "./model-headers.ts";
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
      const refusal = await refuse(context(), tokenOf(request), model);
      if (refusal) return reply.code(refusal.status).send(errorBody(refusal.message));
      reply.hijack();
      await forwardRequest(upstreamOf(proxy, request.raw), request.raw, reply.raw);
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
  model: GatewayOptions["model"],
): Promise<Refusal | undefined> {
  try {
    const { state } = await auth.pod(token);
    if (state !== "valid")
      return { status: 401, message: "Only session pods may use the model proxy." };
  } catch (error) {
    return { status: 503, message: errorMessage(error) };
  }
  return unconfigured(model);
}

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

function upstreamOf({ agent, model }: Proxy, { url = "", headers }: IncomingMessage): Upstream {
  return {
    dispatcher: agent,
    url: modelUrl(model.upstream, url.slice(PREFIX.length)),
    headers: requestHeaders(headers, model.key),
    maxBodyBytes: MAX_BODY_BYTES,
    refusal: (error) => {
      const { status, message } = problemOf(error);
      return { status, body: errorBody(message) };
    },
  };
}

function problemOf(error: unknown): Refusal {
  if (error instanceof ArgusError && error.code === "TooLarge")
    return { status: 413, message: error.message };
  if (error instanceof ArgusError)
    return { status: 502, message: `The model's server cannot be used: ${error.message}.` };
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (code === "UND_ERR_HEADERS_TIMEOUT" || code === "UND_ERR_BODY_TIMEOUT") {
    return { status: 504, message: "The model's server did not answer in time." };
  }
  return { status: 502, message: `The model's server is not reachable (${errorMessage(error)}).` };
}
