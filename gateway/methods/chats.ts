import { ArgusError } from "#lib/errors.ts";
import {
  BindParams,
  type BindResult,
  chatId,
  OfSession,
  sourceOf,
  UnbindParams,
} from "#protocol/session-methods.ts";
import type { GatewayContext } from "../context.ts";
import { bind, chatsOf, sessionOf, unbind } from "../state/access.ts";
import { isSame, leaveHome, setHome } from "../state/threads.ts";
import type { Caller, CallerMethod } from "./method.ts";
import { namedSession, onlyOwner } from "./named-session.ts";

export const chatMethods: Record<string, CallerMethod> = {
  "argus/chat/list": list,
  "argus/chat/bind": bindOf,
  "argus/chat/unbind": unbindOf,
};

async function list(caller: Caller, params: unknown) {
  const { context } = caller;
  const session = await namedSession(caller, OfSession.parse(params).session);
  const { home } = (await context.lanes.of(session)).state.current;
  const chats = chatsOf(context.state.current.access, session.metadata.name);
  return { ok: true, chats, home: home && chatId(home) };
}

async function bindOf(caller: Caller, params: unknown): Promise<BindResult> {
  onlyOwner(caller, "bind chats");
  const { session: name, chat, home, by } = BindParams.parse(params);
  const session = await namedSession(caller, name);
  return await bindChat(caller.context, session.metadata.name, { chat, home, by });
}

/** From now on the chat talks to the session. The same call again changes nothing, and ends what a crash left half done. */
export async function bindChat(
  context: Pick<GatewayContext, "lanes" | "state" | "directory">,
  sessionId: string,
  { chat, home, by }: { chat: string; home?: boolean | undefined; by: string },
): Promise<BindResult> {
  const lane = await context.lanes.of(await existing(context, sessionId));
  const former = await context.state.reduce((document) => {
    const { access } = document;
    const answer = sessionOf(access, chat) ?? null;
    const binding = { chat, session: sessionId, by, boundAt: Date.now() };
    if (answer === sessionId) return { document, answer };
    return { document: { ...document, access: bind(access, binding) }, answer };
  });
  if (former !== null && former !== sessionId) await leave(context, former, chat);
  const source = sourceOf(chat);
  const isForced = home === true;
  const { home: now } = await lane.state.update((document) =>
    home === false ? document : setHome(document, { chat: source, isForced }),
  );
  return { ok: true, chat, sessionId, former, isHome: now !== null && isSame(now, source) };
}

async function unbindOf(caller: Caller, params: unknown) {
  onlyOwner(caller, "unbind chats");
  const { chat } = UnbindParams.parse(params);
  const { state } = caller.context;
  const former = await state.reduce((document) => {
    const access = unbind(document.access, chat);
    const answer = sessionOf(document.access, chat) ?? null;
    return { document: answer === null ? document : { ...document, access }, answer };
  });
  if (former === null) {
    throw new ArgusError("NotFound", `Chat ${chat} is bound to no session.`, { chat });
  }
  await leave(caller.context, former, chat);
  return { ok: true, chat, sessionId: former };
}

/** Another chat of the session takes the part that `chat` had. */
async function leave(
  context: Pick<GatewayContext, "lanes" | "state" | "directory">,
  sessionId: string,
  chat: string,
): Promise<void> {
  const session = await context.directory.find(sessionId);
  if (!session || session.metadata.deletionTimestamp) return;
  const lane = await context.lanes.of(session);
  const [next] = chatsOf(context.state.current.access, sessionId);
  const heir = next === undefined ? null : sourceOf(next);
  await lane.state.update((document) => leaveHome(document, sourceOf(chat), heir));
}

async function existing({ directory }: Pick<GatewayContext, "directory">, name: string) {
  const session = await directory.find(name);
  if (session) return session;
  throw new ArgusError("NotFound", `There is no session ${name}.`);
}
