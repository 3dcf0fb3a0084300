import { z } from "zod";
import { findGateway } from "../client.ts";
import type { Environment } from "../config.ts";
import { say } from "../say.ts";
import { facts } from "../table.ts";
import { callSession } from "./session-call.ts";

// `argus sessions show|rename|new|thread|bind|unbind`: what people call a session, its conversation and its chats.

export interface PartCommand {
  name: string;
  url?: string;
  token?: string;
  data?: string;
  environment: Environment;
}

const Shown = z.object({
  session: z.looseObject({
    name: z.string(),
    title: z.string().optional(),
    status: z.string(),
    reason: z.string(),
    message: z.string(),
    mainThreadId: z.string().nullable(),
    home: z.string().nullable(),
    chats: z.array(z.string()),
    turn: z.object({ kind: z.string(), startedAtMs: z.number() }).nullable(),
    waitingMessages: z.number(),
    waitingEvents: z.number(),
    waitingReplies: z.number(),
    waitsFor: z.string(),
  }),
});

export async function show(command: PartCommand & { json?: boolean }): Promise<number> {
  const { session } = await ask(command, "session/get", {}, Shown);
  if (command.json) return say(JSON.stringify(session, undefined, 2));
  const { title, turn, waitingMessages, waitingEvents, waitingReplies, waitsFor } = session;
  const lines: [string, string][] = [
    ["name", session.name],
    ["title", title ?? ""],
    ["status", [session.status, session.reason, session.message].filter(Boolean).join(": ")],
    ["conversation", session.mainThreadId ?? "begins with the next message"],
    ["chats", session.chats.join(", ")],
    ["events go to", session.home ?? "nobody: bind a chat"],
    ["turn", turn ? `${turn.kind}, since ${new Date(turn.startedAtMs).toISOString()}` : "none"],
    ["waiting", `${waitingMessages} messages, ${waitingEvents} events, ${waitingReplies} replies`],
    ["waits for", waitsFor],
  ];
  return say(facts(lines));
}

export async function rename(command: PartCommand & { title: string }): Promise<number> {
  const { name, title } = command;
  await ask(command, "session/rename", { title }, z.unknown());
  return say(title ? `session ${name} is called ${title}` : `session ${name} has no title`);
}

/** The next message begins a new conversation. */
export async function begin(command: PartCommand): Promise<number> {
  const { former } = await ask(command, "thread/main/reset", {}, Former);
  const words = former ? `; the former one is ${former}` : "";
  return say(`the next message to ${command.name} begins a new conversation${words}`);
}
const Former = z.object({ former: z.string().nullable() });

/** Prints the main thread, or makes another one the main thread. */
export async function thread(command: PartCommand & { threadId?: string }): Promise<number> {
  const { name, threadId } = command;
  if (threadId === undefined) {
    return say((await ask(command, "thread/main/ensure", {}, Thread)).threadId);
  }
  await ask(command, "thread/main/set", { threadId }, Thread);
  return say(`the conversation of ${name} is ${threadId}`);
}
const Thread = z.object({ threadId: z.string() });

export async function bind(command: PartCommand & { chat: string; home?: true }): Promise<number> {
  const { chat, home } = command;
  const bound = await ask(command, "chat/bind", { chat, ...(home ? { home } : {}) }, Bound);
  const moved = bound.former && bound.former !== command.name ? `; before to ${bound.former}` : "";
  const also = bound.isHome ? "; events and heartbeats speak to it" : "";
  return say(`${chat} talks to ${command.name} from now on${moved}${also}`);
}
const Bound = z.object({ former: z.string().nullable(), isHome: z.boolean() });

export async function unbind(
  command: Omit<PartCommand, "name"> & { chat: string },
): Promise<number> {
  const { chat } = command;
  const call = { method: "argus/chat/unbind", params: { chat }, result: Unbound };
  const { sessionId } = await callSession(findGateway(command), call);
  return say(`${chat} does not talk to ${sessionId} any more`);
}
const Unbound = z.object({ sessionId: z.string() });

async function ask<T>(
  command: PartCommand,
  method: string,
  params: object,
  result: z.ZodType<T>,
): Promise<T> {
  const call = { method: `argus/${method}`, params: { session: command.name, ...params }, result };
  return await callSession(findGateway(command), call);
}
