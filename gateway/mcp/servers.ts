import type { IncomingMessage } from "node:http";
import type { FastifyInstance, FastifyRequest } from "fastify";
import { Agent } from "undici";
import type { McpServerEntry } from "#crds/mcp-servers.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import { forwardRequest, type Upstream } from "#lib/forward-request.ts";
import { upstreamHeaders } from "#lib/forwarded-headers.ts";
import type { GatewayContext } from "../context.ts";
import { tokenOf } from "../routes.ts";

const PATH = "/mcp/servers/:name";
/** Of one call. */
const MAX_BODY_BYTES = 16 * 1024 * 1024;
const CONNECT_TIMEOUT_MS = 10_000;
/** A tool may take this long, or be silent this long on a stream. */
const IDLE_TIMEOUT_MS = 3_600_000;
/** Nothing that says who asks, and nothing of our own way. */
const NEVER_UP = new Set(["host", "authorization", "cookie", "forwarded", "origin", "referer"]);

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
        const upstream = upstreamOf({ agent, entry, headers }, request.raw);
        await forwardRequest(upstream, request.raw, reply.raw);
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

function upstreamOf({ agent, entry, headers }: Target, request: IncomingMessage): Upstream {
  return {
    dispatcher: agent,
    url: new URL(entry.url),
    headers: { ...upstreamHeaders(request.headers, NEVER_UP), ...headers },
    maxBodyBytes: MAX_BODY_BYTES,
    refusal: (error) => {
      if (error instanceof ArgusError && error.code === "TooLarge")
        return { status: 413, body: { detail: error.message } };
      const detail = `The MCP server is not reachable (${errorMessage(error)}).`;
      return { status: 502, body: { detail } };
    },
  };
}
