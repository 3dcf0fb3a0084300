import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { ArgusError, type ErrorCode } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { type Credential, requestToken } from "./auth.ts";
import { issueClientToken, TokenRequest } from "./client-token.ts";
import type { GatewayContext } from "./context.ts";
import { sessionRows } from "./session-rows.ts";

const STATUS: Record<ErrorCode, number> = {
  InvalidInput: 400,
  Unauthorized: 401,
  Forbidden: 403,
  NotFound: 404,
  Conflict: 409,
  TooLarge: 413,
  Busy: 429,
  Unavailable: 503,
  Timeout: 504,
  Internal: 500,
};
const UI_ELSEWHERE = "Argus gateway. Talk to it over /ws, for example with `argus chat`.\n";

/** Routes that need no identity: what a probe, a crawler or a lost person asks for. */
export function publicRoutes(app: FastifyInstance, waitsFor: () => string[]): void {
  app.get("/healthz", () => ({ ok: true }));
  app.get("/readyz", (_, reply) => {
    const waiting = waitsFor();
    return reply.code(waiting.length === 0 ? 200 : 503).send({ ok: waiting.length === 0, waiting });
  });
  const text = (path: string, body: string) =>
    app.get(path, (_, reply) => reply.type("text/plain").send(body));
  text("/", UI_ELSEWHERE);
  text("/chat", UI_ELSEWHERE);
  text("/robots.txt", "User-agent: *\nDisallow: /\n");
}

/** Every failure is `{"detail"}`; a defect of ours says nothing about its inside. */
export function errorAnswers(app: FastifyInstance, logger: Logger): void {
  app.setNotFoundHandler((_, reply) => reply.code(404).send({ detail: "Not Found" }));
  app.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
    const status = error instanceof ArgusError ? STATUS[error.code] : (error.statusCode ?? 500);
    if (status < 500) return reply.code(status).send({ detail: error.message });
    logger.error({ path: pathOf(request), error: error.message }, "request failed");
    const detail = error instanceof ArgusError ? error.message : "The gateway failed.";
    return reply.code(status).send({ detail });
  });
}

/** Routes for people: sessions and tokens. `context` is there once the gateway is ready. */
export function adminRoutes(app: FastifyInstance, context: () => GatewayContext): void {
  app.get("/sessions", async (request) => {
    const { auth, directory, state } = context();
    const principal = identified(await credential(request, context()));
    const visible = directory
      .sessions()
      .filter(({ metadata }) => auth.mayUse(principal, metadata.name));
    return { sessions: sessionRows(visible, state.current.titles) };
  });
  app.delete<{ Params: { id: string } }>("/sessions/:id", async (request) => {
    onlyAdmin(await credential(request, context()));
    const { directory } = context();
    const { id } = request.params;
    const session = await directory.find(id);
    if (!session) throw new ArgusError("NotFound", "Session not found", { session: id });
    await directory.remove(session);
    return { ok: true, sessionId: id };
  });
  app.post("/tokens", async (request) => {
    onlyAdmin(await credential(request, context()));
    const wanted = TokenRequest.safeParse(request.body);
    if (!wanted.success) throw new ArgusError("InvalidInput", firstIssue(wanted.error));
    const { keys, directory } = context();
    const session = (name: string) => directory.session(name);
    return issueClientToken(wanted.data, { keys, session, now: Date.now() });
  });
  app.post("/keys/rotate", async (request) => {
    onlyAdmin(await credential(request, context()));
    const { keys, republish } = context();
    const id = await keys.rotate();
    republish();
    return { ok: true, keyId: id };
  });
}

function credential(request: FastifyRequest, { auth }: GatewayContext): Promise<Credential> {
  return auth.person(tokenOf(request));
}

/** The token of an HTTP request. */
export function tokenOf(request: FastifyRequest): string | undefined {
  const query = new URL(request.raw.url ?? "/", "http://gateway").searchParams;
  return requestToken({ authorization: request.headers.authorization }, query);
}

/** The path without its query, which may hold a token. */
export function pathOf(request: FastifyRequest): string {
  return (request.raw.url ?? "/").split("?")[0] ?? "/";
}

function identified(credential: Credential) {
  if (credential.state === "valid") return credential.principal;
  throw new ArgusError("Unauthorized", "Unauthorized");
}

/** Throws `Unauthorized` or `Forbidden` for anybody else. */
export async function demandAdmin(request: FastifyRequest, context: GatewayContext): Promise<void> {
  onlyAdmin(await credential(request, context));
}

function onlyAdmin(credential: Credential): void {
  if (identified(credential).kind !== "admin") throw new ArgusError("Forbidden", "Forbidden");
}

/** The first thing that is wrong, with its field. */
export function firstIssue(error: { issues: { path: PropertyKey[]; message: string }[] }): string {
  const issue = error.issues[0];
  const field = issue?.path.map(String).join(".");
  return field ? `${field}: ${issue?.message}` : (issue?.message ?? "Invalid body");
}

/** Closed by default: only the origins that were named may read answers from a browser. */
export function cors(app: FastifyInstance, origins: readonly string[]): void {
  if (origins.length === 0) return;
  app.addHook("onRequest", async (request: FastifyRequest, reply: FastifyReply) => {
    const { origin } = request.headers;
    if (!origin || !origins.includes(origin)) return;
    reply.header("access-control-allow-origin", origin).header("vary", "Origin");
    if (request.method !== "OPTIONS") return;
    reply.header("access-control-allow-methods", "GET, POST, DELETE");
    reply.header("access-control-allow-headers", "Authorization, Content-Type");
    await reply.code(204).send();
  });
}
