import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { ArgusSession } from "#crds/kinds.ts";
import { ArgusError } from "#lib/errors.ts";
import { EVENT_STATUS_PATH, EVENTS_PATH, EventRequest } from "#protocol/events.ts";
import { type EventSource, MAX_EVENT_BYTES } from "#protocol/lane-entry.ts";
import { acceptEvent } from "../accept-event.ts";
import type { Principal } from "../auth.ts";
import type { GatewayContext } from "../context.ts";
import { eventStatus, systemEvent } from "../event-view.ts";
import { firstIssue, tokenOf } from "../routes.ts";

/** An event of 16 KiB as JSON, every character of it escaped, and the rest of its request. */
const MAX_EVENT_BODY_BYTES = 128 * 1024;
/** When to post again what was not taken for want of room, seconds. */
const RETRY_AFTER_SECONDS = 5;
const MAIN = "main";

/** What happened outside becomes an event of a session. Who may report it: the admin, the controller, a session's clients. */
export function eventRoutes(app: FastifyInstance, context: () => GatewayContext): void {
  void app.register(async (scope) => {
    scope.setErrorHandler(refuse);
    scope.post(EVENTS_PATH, { bodyLimit: MAX_EVENT_BODY_BYTES }, (request, reply) =>
      enqueue(request, reply, context()),
    );
    scope.get(EVENT_STATUS_PATH, (request) => status(request, context()));
    scope.get("/automation/state", (request) => state(request, context()));
  });
}

async function enqueue(request: FastifyRequest, reply: FastifyReply, context: GatewayContext) {
  const principal = await reporter(request, context);
  const wanted = EventRequest.safeParse(request.body ?? {});
  if (!wanted.success) throw new ArgusError("InvalidInput", badEvent(request, wanted.error));
  const { sessionId, source, ...event } = wanted.data;
  const session = await sessionOf(principal, sessionId, context);
  const lane = await context.lanes.of(session);
  const accepted = await acceptEvent(lane, { ...event, source: sourceOf(principal, source) });
  const facts = { ok: true, sessionId: session.metadata.name, state: accepted.state };
  const threadId = event.target === "main" ? null : (event.threadId ?? null);
  // The older form is answered as its senders expect it.
  void reply.code(event.key === undefined ? 200 : 202);
  if (accepted.state === "skipped") return { ...facts, reason: accepted.reason };
  const told = accepted.event ? { event: systemEvent(accepted.event) } : {};
  return { ...facts, threadId: threadId ?? lane.state.current.mainThread, ...told };
}

async function status(request: FastifyRequest, context: GatewayContext) {
  const principal = await reporter(request, context);
  const query = new URL(request.raw.url ?? "/", "http://gateway").searchParams;
  const key = query.get("key");
  if (!key) throw new ArgusError("InvalidInput", "key: name the event's key in the query");
  const session = await sessionOf(principal, query.get("sessionId") ?? undefined, context);
  const { name } = session.metadata;
  const known = eventStatus((await context.lanes.of(session)).state.current, key);
  if (known) return known;
  const message = `Session ${name} knows no event ${key}: it never had it, or it is forgotten`;
  throw new ArgusError("NotFound", message, { code: "EventNotFound" });
}

/** The seed's shape, without what only it kept: sessions by name, and which lanes are at work. */
async function state(request: FastifyRequest, context: GatewayContext) {
  const principal = await reporter(request, context);
  const visible = context.directory
    .sessions()
    .map(({ metadata }) => metadata.name)
    .filter((name) => context.auth.mayUse(principal, name))
    .toSorted();
  const lanes = await Promise.all(visible.map((name) => laneState(name, context)));
  const known = lanes.filter((lane) => lane !== undefined);
  return {
    ok: true,
    persisted: {
      version: 1,
      defaultSessionId: MAIN,
      sessions: Object.fromEntries(known.map(({ name, persisted }) => [name, persisted])),
    },
    runtime: { lanes: known.map(({ runtime }) => runtime) },
  };
}

async function laneState(name: string, { directory, lanes }: GatewayContext) {
  const session = directory.session(name);
  const lane = session && (await lanes.of(session).catch(() => undefined));
  if (!lane) return undefined;
  const { mainThread, events, inputs, turn } = lane.state.current;
  const queues = Map.groupBy(events, ({ threadId }) => threadId ?? mainThread ?? "");
  const systemEventQueues = Object.fromEntries(
    [...queues].map(([thread, list]) => [thread, list.map(systemEvent)]),
  );
  const waiting = inputs.filter(({ id }) => id !== turn?.inputId).length;
  return {
    name,
    persisted: { mainThreadId: mainThread, systemEventQueues },
    runtime: {
      sessionId: name,
      threadId: turn?.threadId ?? mainThread,
      busy: turn !== null,
      followupDepth: waiting,
    },
  };
}

/** Throws `Unauthorized` for anybody else. */
export async function reporter(
  request: FastifyRequest,
  { auth }: GatewayContext,
): Promise<Principal> {
  const credential = await auth.reporter(tokenOf(request));
  if (credential.state === "valid") return credential.principal;
  throw new ArgusError("Unauthorized", "Unauthorized");
}

/** The session that is meant. Throws `NotFound` with code `SessionNotFound`, `Forbidden` for another's. */
export async function sessionOf(
  principal: Principal,
  wanted: string | undefined,
  { auth, directory }: GatewayContext,
): Promise<ArgusSession> {
  const own = principal.kind === "client" ? principal.grants[0]?.name : undefined;
  const name = wanted ?? own ?? MAIN;
  if (!auth.mayUse(principal, name)) {
    throw new ArgusError("Forbidden", `The token does not open session ${name}.`);
  }
  const session =
    wanted === undefined && principal.kind === "admin"
      ? (await directory.ensure(name)).session
      : await directory.find(name);
  if (session && !session.metadata.deletionTimestamp) return session;
  throw new ArgusError("NotFound", `There is no session ${name}: create it first.`, {
    code: "SessionNotFound",
  });
}

/** Limits and policies count by source: a client cannot speak for a schedule. */
function sourceOf(principal: Principal, named: EventSource | undefined): EventSource {
  if (principal.kind === "client") return { name: "client", uid: "client" };
  return named ?? { name: "api", uid: "api" };
}

function badEvent({ body }: FastifyRequest, error: Parameters<typeof firstIssue>[0]): string {
  if (typeof body !== "object" || body === null) return "The body must be a JSON object";
  const isMissing = error.issues[0]?.path[0] === "text" && !("text" in body);
  return isMissing ? "Missing 'text'" : firstIssue(error);
}

/** Adds what a sender needs to do the right thing next; everything else is answered as for other routes. */
function refuse(error: FastifyError, _: FastifyRequest, reply: FastifyReply): void {
  if (error.code === "FST_ERR_CTP_BODY_TOO_LARGE") {
    const message = `The request is too large: an event may have at most ${MAX_EVENT_BYTES} bytes of text. Put the rest where the agent can read it and name the place.`;
    throw new ArgusError("TooLarge", message);
  }
  if (!(error instanceof ArgusError)) throw error;
  if (error.code === "Busy" || error.code === "Unavailable") {
    void reply.header("retry-after", String(RETRY_AFTER_SECONDS));
  }
  const { code } = error.facts;
  if (error.code !== "NotFound" || typeof code !== "string") throw error;
  void reply.code(404).send({ detail: error.message, code });
}
