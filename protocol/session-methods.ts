import { z } from "zod";
import { ChannelId } from "./access.ts";
import type { SessionRow } from "./client.ts";
import type { Source } from "./lane-entry.ts";

// `argus/session/*`, `argus/thread/*` and `argus/chat/*`. `session` names one; without it the one that the caller is attached to.

/** A session's name, as the API server takes it for a pod's label too. */
export const SessionName = z
  .string()
  .regex(
    /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
    "a session's name has lower-case letters, digits and dashes, at most 63",
  );
export const MAX_TITLE = 128;
const Title = z
  .string()
  .trim()
  .max(MAX_TITLE)
  .regex(/^\P{Cc}*$/u, "one line, without control characters");

/** `argus/session/get`, `argus/thread/main/ensure`, `argus/chat/list`. */
export const OfSession = z.object({ session: SessionName.optional() });

/** `argus/session/create`. A repeat with the same name finds the session that is there. */
export const CreateParams = z.object({
  name: SessionName.optional(),
  title: Title.optional(),
});
export interface CreateResult {
  ok: true;
  sessionId: string;
  /** False = it was there already. */
  created: boolean;
}

/** `argus/session/rename`: what people call it; an empty title takes it away. The name stays: it is the object's. */
export const RenameParams = OfSession.extend({ title: Title });

/** `argus/session/delete`. Without `confirm` nothing is deleted and the answer says what would be lost. */
export const DeleteParams = OfSession.extend({
  /** The answer's `confirm`: exactly that object is deleted, never a successor of its name. */
  confirm: z.string().min(1).max(128).optional(),
});
export interface DeleteResult {
  ok: true;
  sessionId: string;
  deleted: boolean;
  confirm: string;
  /** What goes, or what went, in words. */
  message: string;
}

/** A row of `argus/session/list`. */
export interface SessionListRow extends SessionRow {
  chats: string[];
}

/** Answer of `argus/session/get`. */
export interface SessionFacts extends SessionListRow {
  mainThreadId: string | null;
  /** Chat that events and heartbeats speak to. */
  home: string | null;
  turn: { kind: string; startedAtMs: number } | null;
  waitingMessages: number;
  waitingEvents: number;
  waitingReplies: number;
  /** What the first of those that wait waits for, in words. */
  waitsFor: string;
}

/** Answer of `argus/thread/main/ensure`. */
export interface MainThread {
  threadId: string;
  /** This call made it: it has had no turn yet. */
  created: boolean;
}

/** `argus/thread/main/changed` to every client of the session: `threadId` is the main thread from now on; null = the next turn makes one. */
export const MAIN_THREAD_CHANGED = "argus/thread/main/changed";

/** `argus/thread/main/set`. */
export const SetThreadParams = OfSession.extend({ threadId: z.string().min(1).max(512) });

/** `argus/thread/main/reset`: the next message begins a new conversation. The same `key` as the last reset's changes nothing. */
export const ResetThreadParams = OfSession.extend({ key: z.string().min(1).max(512).optional() });

/** `argus/chat/bind`. */
export const BindParams = OfSession.extend({
  chat: ChannelId,
  /** Whether events and heartbeats speak to it; without it only when no chat has that part yet. */
  home: z.boolean().optional(),
  /** Who wants it, as the channel names people. */
  by: z.string().max(256).default(""),
});
export interface BindResult {
  ok: true;
  chat: string;
  sessionId: string;
  /** Session that it talked to before. */
  former: string | null;
  /** Events and heartbeats of the session speak to it. */
  isHome: boolean;
}

/** `argus/chat/unbind`. */
export const UnbindParams = z.object({ chat: ChannelId });

/** Name of a chat everywhere outside of a lane. */
export function chatId({ channel, chatKey }: Source): string {
  return `${channel}:${chatKey}`;
}

export function sourceOf(chat: string): Source {
  const at = chat.indexOf(":");
  return { channel: chat.slice(0, at), chatKey: chat.slice(at + 1) };
}
