import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { ArgusSession } from "#crds/kinds.ts";
import { ArgusError } from "#lib/errors.ts";
import type { Credential } from "../auth.ts";
import type { GatewayContext } from "../context.ts";
import { tokenOf } from "../routes.ts";
import { McpSessions } from "./mcp-session.ts";
import { TOOLS } from "./tools.ts";
import { Withdrawals } from "./withdrawals.ts";

const PATH = "/mcp";
const SESSION_HEADER = "mcp-session-id";
const MAX_BODY_BYTES = 4 * 1024 * 1024;
/** What the transport asks every client to accept; a client that takes JSON alone gets JSON. */
const ACCEPT = "application/json, text/event-stream";

/** `/mcp`: the tools of a session's agent, by Streamable HTTP. The session is the one that the token names. */
export function mcpRoutes(
  app: FastifyInstance,
  context: () => GatewayContext,
  { secret, origins }: { secret: string; origins: readonly string[] },
): void {
  const sessions = new McpSessions(secret);
  const withdrawn = new Withdrawals();
  void app.register(async (scope) => {
    scope.addHook("onRequest", async ({ headers: { origin, host } }) => {
      if (origin === undefined || origins.includes(origin) || isOwn(origin, host)) return;
      throw new ArgusError("Forbidden", "Requests of web pages of other origins are refused.");
    });
    scope.get(PATH, (_, reply) => notAllowed(reply));
    scope.delete(PATH, async (request) => {
      const session = await sessionOf(request, context());
      sessions.end(liveSession(request, session, sessions));
      return { ok: true };
    });
    scope.post(PATH, { bodyLimit: MAX_BODY_BYTES }, async (request, reply) => {
      const session = await sessionOf(request, context());
      await serve(request, reply, { context: context(), session, sessions, withdrawn });
    });
  });
}

/** This server's own address, called by it; by any other name it may be somebody's who made that name point here. */
function isOwn(origin: string, host: string | undefined): boolean {
  const url = URL.parse(origin);
  return url?.host === host && /^(localhost|127\.0\.0\.1|\[::1\])$/.test(url?.hostname ?? "");
}

function notAllowed(reply: FastifyReply): FastifyReply {
  return reply
    .code(405)
    .header("allow", "POST, DELETE")
    .send({ detail: "This server sends nothing by itself: POST requests, DELETE ends a session." });
}

interface Serving {
  context: GatewayContext;
  session: ArgusSession;
  sessions: McpSessions;
  withdrawn: Withdrawals;
}

async function serve(
  request: FastifyRequest,
  reply: FastifyReply,
  { context, session, sessions, withdrawn }: Serving,
): Promise<void> {
  const isFirst = methods(request.body).includes("initialize");
  const uid = session.metadata.uid ?? "";
  const mcpSession = isFirst ? sessions.create(uid) : liveSession(request, session, sessions);
  if (isFirst) reply.raw.setHeader("MCP-Session-Id", mcpSession);
  for (const each of messages(request.body)) withdrawn.take(each, mcpSession);
  const wantsStream = (request.headers.accept ?? "").includes("text/event-stream");
  const asStream = wantsStream && methods(request.body).includes("tools/call");
  request.raw.headers.accept = ACCEPT;
  const { serveExchange } = await import("./server.ts");
  reply.hijack();
  const { raw, body } = request;
  const exchange = { request: raw, response: reply.raw, body, asStream, withdrawn };
  await serveExchange(TOOLS, { context, session, mcpSession }, exchange);
}

/** The MCP session that the request names. Throws `InvalidInput` without one, `NotFound` for one that is over or another's. */
function liveSession(
  request: FastifyRequest,
  session: ArgusSession,
  sessions: McpSessions,
): string {
  const id = request.headers[SESSION_HEADER];
  if (typeof id !== "string") {
    throw new ArgusError(
      "InvalidInput",
      `Header MCP-Session-Id is missing: send initialize first.`,
    );
  }
  if (sessions.isLive(id, session.metadata.uid ?? "")) return id;
  throw new ArgusError("NotFound", "The MCP session is over or unknown: send initialize again.");
}

const messages = (body: unknown): unknown[] => (Array.isArray(body) ? body : [body]);

function methods(body: unknown): unknown[] {
  return messages(body).map((each) =>
    typeof each === "object" && each !== null && "method" in each ? each.method : undefined,
  );
}

/** The one session that the token may use; only the admin's names it in the query. */
async function sessionOf(request: FastifyRequest, context: GatewayContext): Promise<ArgusSession> {
  const { directory } = context;
  const name = await nameOf(request, context);
  const session = name === undefined ? undefined : directory.session(name);
  if (session) return session;
  throw new ArgusError("NotFound", `There is no session ${name}.`, { session: name });
}

async function nameOf(
  request: FastifyRequest,
  context: GatewayContext,
): Promise<string | undefined> {
  const token = tokenOf(request);
  const person = await context.auth.person(token);
  const { principal } = valid(person.state === "valid" ? person : await context.auth.pod(token));
  if (principal.kind === "pod") return principal.session;
  if (principal.kind === "client" && principal.grants.length === 1)
    return principal.grants[0]?.name;
  if (principal.kind === "client") {
    throw new ArgusError("Forbidden", "The token names several sessions: use one that names one.");
  }
  return new URL(request.raw.url ?? "/", "http://gateway").searchParams.get("session") ?? "main";
}

function valid(credential: Credential) {
  if (credential.state === "valid") return credential;
  throw new ArgusError("Unauthorized", "Unauthorized");
}
