import type { ArgusSession } from "#crds/kinds.ts";
import { ArgusError } from "#lib/errors.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import {
  CreateParams,
  type CreateResult,
  chatId,
  DeleteParams,
  type DeleteResult,
  OfSession,
  RenameParams,
  type SessionFacts,
  type SessionListRow,
} from "#protocol/session-methods.ts";
import type { GatewayContext } from "../context.ts";
import { sessionRows } from "../session-rows.ts";
import { chatsOf } from "../state/access.ts";
import { setTitle, titleOf } from "../state/titles.ts";
import type { Caller, CallerMethod } from "./method.ts";
import { namedSession, onlyOwner } from "./named-session.ts";

export const sessionMethods: Record<string, CallerMethod> = {
  "argus/session/list": list,
  "argus/session/get": get,
  "argus/session/wake": wake,
  "argus/session/create": create,
  "argus/session/rename": rename,
  "argus/session/delete": remove,
};

async function list({ context, principal }: Caller) {
  const { auth, directory } = context;
  const visible = directory
    .sessions()
    .filter(({ metadata }) => auth.mayUse(principal, metadata.name));
  return { ok: true, sessions: rowsOf(visible, context) };
}

function rowsOf(sessions: readonly ArgusSession[], { state }: GatewayContext): SessionListRow[] {
  const { access, titles } = state.current;
  return sessionRows(sessions, titles).map((row) => ({
    ...row,
    chats: chatsOf(access, row.name),
  }));
}

/** Where a session stands: what it is called, where it speaks, what it does and what waits. */
async function get(caller: Caller, params: unknown): Promise<{ ok: true; session: SessionFacts }> {
  const { context } = caller;
  const session = await namedSession(caller, OfSession.parse(params).session);
  const lane = await context.lanes.of(session);
  const [row] = rowsOf([session], context);
  if (!row) throw new ArgusError("Internal", "The gateway failed");
  const { inputs, events, deliveries, turn, mainThread, home } = lane.state.current;
  const facts: SessionFacts = {
    ...row,
    mainThreadId: mainThread,
    home: home && chatId(home),
    turn: turn && { kind: turn.kind, startedAtMs: turn.startedAt },
    waitingMessages: inputs.filter(({ id }) => id !== turn?.inputId).length,
    waitingEvents: events.length,
    waitingReplies: deliveries.length,
    waitsFor: lane.running || lane.waitsFor,
  };
  return { ok: true, session: facts };
}

/** The session is needed: a cold one gets its pod. For clients that speak to its app-server themselves. */
async function wake(caller: Caller, params: unknown) {
  const session = await namedSession(caller, OfSession.parse(params).session);
  caller.context.keeper.useOf(session).claim();
  return { ok: true };
}

async function create(caller: Caller, params: unknown): Promise<CreateResult> {
  onlyOwner(caller, "make sessions");
  const { name, title } = CreateParams.parse(params);
  const { directory } = caller.context;
  const made =
    name === undefined
      ? { session: await directory.createNew(), created: true }
      : await directory.ensure(name);
  const { metadata } = made.session;
  if (metadata.deletionTimestamp) {
    const message = `Session ${metadata.name} is being deleted: try again when it is gone.`;
    throw new ArgusError("Conflict", message);
  }
  if (title) await titled(caller.context, made.session, title);
  return { ok: true, sessionId: metadata.name, created: made.created };
}

async function rename(caller: Caller, params: unknown) {
  const { session: name, title } = RenameParams.parse(params);
  const session = await namedSession(caller, name);
  await titled(caller.context, session, title);
  return { ok: true, sessionId: session.metadata.name, title };
}

async function titled({ state, keeper }: GatewayContext, session: ArgusSession, title: string) {
  const { uid = "" } = session.metadata;
  // Its title goes with it.
  await keeper.guard(session);
  await state.update((document) => {
    const titles = setTitle(document.titles, uid, title);
    return titles === document.titles ? document : { ...document, titles };
  });
}

/** In two steps, so that nobody deletes by a slip what cannot be brought back, nor a successor of what was meant. */
async function remove(caller: Caller, params: unknown): Promise<DeleteResult> {
  onlyOwner(caller, "delete sessions");
  const { session: name, confirm } = DeleteParams.parse(params);
  const { context } = caller;
  const session = await namedSession(caller, name);
  const { name: sessionId, uid = "" } = session.metadata;
  const facts = { ok: true, sessionId, confirm: uid } as const;
  if (confirm === undefined) {
    const title = titleOf(context.state.current.titles, uid);
    const document = (await openLane(session, context))?.state.current;
    return { ...facts, deleted: false, message: lossWords(sessionId, title, document) };
  }
  if (confirm !== uid) {
    const message = `Session ${sessionId} is not the one that was confirmed: another one has its name now. Ask again.`;
    throw new ArgusError("Conflict", message);
  }
  await context.directory.remove(session);
  return { ...facts, deleted: true, message: `Session ${sessionId} is being deleted.` };
}

/** One whose document cannot be read can be deleted, too. */
async function openLane(session: ArgusSession, { lanes }: GatewayContext) {
  return await lanes.of(session).catch((error: unknown) => {
    if (error instanceof ArgusError && error.code === "Unavailable") return undefined;
    throw error;
  });
}

function lossWords(name: string, title: string | undefined, document?: SessionDocument): string {
  const what = title ? `${name} (${title})` : name;
  const counts = document
    ? [
        counted(document.inputs.length, "open message", "open messages"),
        counted(document.events.length, "open event", "open events"),
        counted(document.deliveries.length, "reply on its way", "replies on their way"),
      ].filter((words) => words !== undefined)
    : ["a state that cannot be read"];
  const also = counts.length > 0 ? `, and ${counts.join(", ")}` : "";
  return `Session ${what} would be deleted: its conversation and its files (unless its volume is kept)${also}. This cannot be undone.`;
}

function counted(count: number, one: string, many: string): string | undefined {
  return count === 0 ? undefined : `${count} ${count === 1 ? one : many}`;
}
