import { randomBytes } from "node:crypto";
import { z } from "zod";
import type { ArgusSession } from "#crds/kinds.ts";
import { ArgusError } from "#lib/errors.ts";
import {
  AdmitParams,
  type AdmitResult,
  ApproveParams,
  CHANNEL,
  ChatCallParams,
  MovedParams,
  ShownParams,
  SwitchParams,
} from "#protocol/channel.ts";
import { methodNamed } from "../argus-methods.ts";
import type { Principal } from "../auth.ts";
import { bindChat } from "../methods/chats.ts";
import {
  type AllowList,
  approve,
  codeFrom,
  judge,
  migrateChat,
  roleOf,
  type Sender,
  sessionOf,
  type Verdict,
} from "../state/access.ts";
import { shownBy } from "../state/inputs.ts";
import { moveChat } from "../state/move.ts";
import type { AdapterConnection } from "./adapter-connection.ts";
import type { AdapterMethod } from "./adapter-frames.ts";

/** What a person may ask for from inside a chat; everything else is for the owner's own tools. */
const CALLABLE = new Set([
  "argus/session/get",
  "argus/thread/main/reset",
  "argus/turn/cancel",
  "argus/input/list",
  "argus/input/retry",
  "argus/heartbeat/request",
  "argus/cron/list",
  "argus/node/list",
]);
/** What only an owner may ask for there. */
const OWNERS = new Set([
  "argus/session/list",
  "argus/person/list",
  "argus/node/pending",
  "argus/node/approve",
]);

/** Who may write, and what they ask about their session. */
export const chatMethods: Record<string, AdapterMethod> = {
  [CHANNEL.admit]: admit,
  [CHANNEL.approve]: approveCode,
  [CHANNEL.call]: call,
  [CHANNEL.switch]: switchSession,
  [CHANNEL.moved]: moved,
  [CHANNEL.shown]: shown,
};

async function admit(connection: AdapterConnection, params: unknown): Promise<AdmitResult> {
  const { person, chatKey, isGroup, consent, ...wanted } = AdmitParams.parse(params);
  const name = inChannel(connection);
  const base = name(wanted.groupKey ?? chatKey);
  const sender = { person: { ...person, id: name(person.id) }, chat: base, isGroup };
  const verdict = await judged(connection, sender, allowOf(connection, wanted.allow));
  if (verdict.state === "pairing") return { state: "pairing", code: verdict.code.code };
  if (verdict.state === "refused") return verdict;
  const { role } = verdict;
  const session = sessionFor(role, isGroup, wanted);
  const isConsented = verdict.session !== undefined || consent;
  if (isGroup && !isConsented) return { state: "refused", reason: "askConsent" };
  const sessionId = await boundSession(connection, {
    chat: name(chatKey),
    session,
    by: name(person.id),
  });
  // A topic's session is its own; the group's stands for the owner's consent.
  if (isGroup && verdict.session === undefined && base !== name(chatKey)) {
    await boundSession(connection, { chat: base, session, by: name(person.id) });
  }
  return { state: "allowed", role, sessionId };
}

function sessionFor(
  role: "owner" | "member",
  isGroup: boolean,
  { session, ownerSession = session }: { session: string; ownerSession?: string | undefined },
): string {
  return role === "owner" && !isGroup ? ownerSession : session;
}

async function judged(
  { context: { state } }: AdapterConnection,
  sender: Sender,
  allow: AllowList,
): Promise<Verdict> {
  const code = () => codeFrom(randomBytes(8));
  return await state.reduce((document) => {
    const { document: access, answer } = judge(document.access, sender, {
      allow,
      code,
      now: Date.now(),
    });
    const isSame = access === document.access;
    return { document: isSame ? document : { ...document, access }, answer };
  });
}

/** The session that the chat talks to; bound to `session` when it has none, or when that one is gone. */
async function boundSession(
  { context }: AdapterConnection,
  { chat, session, by }: { chat: string; session: string; by: string },
): Promise<string> {
  const known = sessionOf(context.state.current.access, chat);
  if (known !== undefined && (await context.directory.find(known))) return known;
  const { metadata } = (await context.directory.ensure(session)).session;
  await bindChat(context, metadata.name, { chat, by });
  return metadata.name;
}

async function approveCode(connection: AdapterConnection, params: unknown) {
  const { personId, code, role, allow } = ApproveParams.parse(params);
  demandOwner(connection, { personId, allow });
  const { state } = connection.context;
  const { chat = "" } = state.current.access.codes.find((each) => each.code === code) ?? {};
  const { name } = await state.reduce((document) => {
    const { document: access, answer } = approve(document.access, { code, role, now: Date.now() });
    return { document: { ...document, access }, answer };
  });
  return { name, chat: chat.slice(connection.channel.length + 1) };
}

/** Throws `Forbidden` for anybody else. Answers the owner's id. */
function demandOwner(
  connection: AdapterConnection,
  { personId = "", allow }: { personId?: string | undefined; allow: AllowList },
): string {
  const { access } = connection.context.state.current;
  const by = inChannel(connection)(personId);
  if (roleOf(access, by, allowOf(connection, allow)) === "owner") return by;
  throw new ArgusError("Forbidden", "Only an owner may do this.");
}

/** A method about the chat's own session, by somebody who may use that one only; a few more for an owner. */
async function call(connection: AdapterConnection, params: unknown): Promise<unknown> {
  const { chatKey, method, params: given, ...who } = ChatCallParams.parse(params);
  const isOwners = OWNERS.has(method);
  const run = CALLABLE.has(method) || isOwners ? methodNamed(method) : undefined;
  if (!run) throw new ArgusError("Forbidden", `${method} cannot be called from a chat.`);
  if (isOwners) demandOwner(connection, who);
  const { context } = connection;
  const name = sessionOf(context.state.current.access, inChannel(connection)(chatKey));
  const session = name === undefined ? undefined : await context.directory.find(name);
  if (!session) throw new ArgusError("NotFound", `Chat ${chatKey} is bound to no session.`);
  const principal: Principal = isOwners ? { kind: "admin" } : clientOf(session);
  const caller = { context, principal, session: async () => session };
  try {
    return await run(caller, given);
  } catch (error) {
    if (!(error instanceof z.ZodError)) throw error;
    throw new ArgusError("InvalidInput", error.issues[0]?.message ?? "not valid");
  }
}

/** Only to a session that there is: a slip of the tongue makes none. */
async function switchSession(connection: AdapterConnection, params: unknown) {
  const { chatKey, session, ...who } = SwitchParams.parse(params);
  const by = demandOwner(connection, who);
  const chat = inChannel(connection)(chatKey);
  const { sessionId, former } = await bindChat(connection.context, session, { chat, by });
  return { sessionId, former };
}

function clientOf({ metadata, spec }: ArgusSession): Principal {
  const { name, uid = "" } = metadata;
  const grant = { name, uid, generation: spec.tokenGeneration ?? 0 };
  return { kind: "client", grants: [grant], expiresAt: Number.MAX_SAFE_INTEGER };
}

async function moved(connection: AdapterConnection, params: unknown) {
  const { from, to } = MovedParams.parse(params);
  const name = inChannel(connection);
  const { channel, context } = connection;
  const { directory, lanes, state } = context;
  // What waits goes first: a repeat of the news ends what a crash left half done.
  for (const session of directory.sessions()) {
    // One whose document cannot be read is told of by the lanes themselves.
    const lane = await lanes.of(session).catch(() => undefined);
    await lane?.state.update((document) =>
      moveChat(document, { channel, chatKey: from }, { channel, chatKey: to }),
    );
  }
  await state.update((document) => {
    const access = migrateChat(document.access, name(from), name(to));
    return access === document.access ? document : { ...document, access };
  });
  return { ok: true };
}

async function shown(connection: AdapterConnection, params: unknown) {
  const { chatKey, sessionId, inputId, ref } = ShownParams.parse(params);
  const { context, channel } = connection;
  const session = await context.directory.find(sessionId);
  if (!session) return { kept: false };
  const { state } = await context.lanes.of(session);
  const isOwn = (entry: { source: { channel: string; chatKey: string } | null }) =>
    entry.source?.channel === channel && entry.source.chatKey === chatKey;
  const { inputs, deliveries } = state.current;
  const source = inputs.find(({ id }) => id === inputId)?.source ?? null;
  const target = deliveries.find((each) => each.inputId === inputId)?.target ?? null;
  if (!isOwn({ source }) && !isOwn({ source: target })) return { kept: false };
  return { kept: await state.reduce((document) => shownBy(document, { inputId, ref })) };
}

/** Names of other channels' people and chats cannot be said. */
function inChannel({ channel }: AdapterConnection): (id: string) => string {
  return (id) => `${channel}:${id}`;
}

function allowOf(connection: AdapterConnection, { owners, members }: AllowList): AllowList {
  const name = inChannel(connection);
  return { owners: owners.map(name), members: members.map(name) };
}
