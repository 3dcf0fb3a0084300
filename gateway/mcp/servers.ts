import type { IncomingMessage, ServerResponse } from "node:http";
import { pipeline } from "node:stream/promises";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { Agent, type Dispatcher } from "undici";
import type { McpServerEntry } from "#crds/mcp-servers.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import { forwardedHeaders } from "#lib/forwarded-headers.ts";
import type { GatewayContext } from "../context.ts";
import { tokenOf } from "../routes.ts";

const PATH = "/mcp/servers/:name";
const CONNECT_TIMEOUT_MS = 10_000;
/** A tool may take this long, or be silent this long on a stream. */
const IDLE_TIMEOUT_MS = 3_600_000;
/** Nothing that says who asks, and nothing of our own way. */
const NEVER_UP = new Set(["host", "authorization", "cookie", "forwarded", "origin", "referer"]);
const NEVER_DOWN = new Set(["set-cookie", "alt-svc"]);

/**
 * `/mcp/servers/<name>`: what a session's agent says to the MCP servers of its `spec.mcpServers`. The gateway adds their headers,
 * which the agent never sees. Only session pods; the session is the one that the token names.
 */
export function mcpServerRoutes(
  app: FastifyInstance,
  context: () => GatewayContext,
): () => Promise<void> {
  const agent = new Agent({
    connect: { timeout: CONNECT_TIMEOUT_MS },
    headersTimeout: IDLE_TIMEOUT_MS,
    bodyTimeout: IDLE_TIMEOUT_MS,
  });
  void app.register(async (scope) => {
    // The body is passed on as it comes.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser("*", (_request, _payload, done) => done(null));
    scope.route({
      method: ["GET", "POST", "DELETE"],
      url: PATH,
      handler: async (request, reply) => {
        const entry = await entryOf(request, context());
        const headers = await context().mcpHeaders.of(entry);
        reply.hijack();
        await forward({ agent, entry, headers }, request.raw, reply.raw);
        return reply;
      },
    });
  });
  return () => agent.destroy();
}

async function entryOf(request: FastifyRequest, context: GatewayContext): Promise<McpServerEntry> {
  const credential = await context.auth.pod(tokenOf(request));
  const principal = credential.state === "valid" ? credential.principal : undefined;
  if (principal?.kind !== "pod")
    throw new ArgusError("Unauthorized", "Only session pods may use their MCP servers.");
  const session = context.directory.session(principal.session);
  const { name } = request.params as { name: string };
  const entry = session?.spec.mcpServers?.find((each) => each.name === name);
  if (entry) return entry;
  throw new ArgusError("NotFound", `Session ${principal.session} has no MCP server ${name}.`);
}

interface Target {
  agent: Agent;
  entry: McpServerEntry;
  headers: Record<string, string>;
}

/** Streams the request up and the answer down; whoever leaves first ends the other side. */
async function forward(
  { agent, entry, headers }: Target,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  try {
    const url = new URL(entry.url);
    const answer = await agent.request({
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method: request.method ?? "POST",
      headers: { ...visible(request), ...headers },
      body: request.method === "POST" ? request : null,
      signal: gone.signal,
    });
    await relay(answer, response);
  } catch (error) {
    fail(response, gone.signal.aborted ? undefined : errorMessage(error));
  }
}

function visible(request: IncomingMessage) {
  const kept = forwardedHeaders(request.headers, NEVER_UP);
  for (const name of Object.keys(kept)) if (name.startsWith("x-forwarded-")) delete kept[name];
  return kept;
}

async function relay(answer: Dispatcher.ResponseData, response: ServerResponse): Promise<void> {
  if (answer.statusCode >= 300 && answer.statusCode < 400) {
    await answer.body.dump();
    // Elsewhere the headers would be somebody else's.
    throw new ArgusError("Unavailable", "it answered with a redirect, which is not followed");
  }
  response.writeHead(answer.statusCode, forwardedHeaders(answer.headers, NEVER_DOWN));
  response.flushHeaders();
  await pipeline(answer.body, response);
}

/** An error before the first byte is an answer; later the connection is cut, so that nobody takes half for all. */
function fail(response: ServerResponse, problem: string | undefined): void {
  if (response.destroyed) return;
  if (problem === undefined || response.headersSent) return void response.destroy();
  const detail = `The MCP server is not reachable (${problem}).`;
  response.writeHead(502, { "content-type": "application/json", connection: "close" });
  response.end(JSON.stringify({ detail }));
}
