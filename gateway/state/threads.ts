import type { Source } from "#protocol/lane-entry.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import type { Reduced } from "./document.ts";
import { refuseClosing } from "./inputs.ts";

// A session's main thread and its home chat. Pure.

/** Whoever asks first chooses; the others get the same thread. */
export function firstThread(
  document: SessionDocument,
  threadId: string,
): Reduced<SessionDocument, string> {
  const { mainThread } = document;
  if (mainThread !== null) return { document, answer: mainThread };
  return { document: { ...document, mainThread: threadId }, answer: threadId };
}

/** From now on `threadId` is the main thread, null = a new one with the next turn. Messages that wait were meant for the former one. Throws `NotFound`. */
export function changeThread(
  document: SessionDocument,
  { threadId, key }: { threadId: string | null; key?: string | undefined },
): Reduced<SessionDocument, { former: string | null; changed: boolean }> {
  refuseClosing(document);
  const { mainThread: former, inputs, resetKey, ...rest } = document;
  const isRepeat = key !== undefined && key === resetKey;
  if (isRepeat || (former === threadId && key === undefined)) {
    return { document, answer: { former, changed: false } };
  }
  const pinned = inputs.map((input) =>
    input.threadId === null && former !== null ? { ...input, threadId: former } : input,
  );
  const last = key ?? resetKey;
  const known = last === undefined ? {} : { resetKey: last };
  const after = { ...rest, ...known, mainThread: threadId, inputs: pinned };
  return { document: after, answer: { former, changed: former !== threadId } };
}

/** Events and heartbeats speak to `chat` from now on; unless `isForced` only when they speak to none. Throws `NotFound`. */
export function setHome(
  document: SessionDocument,
  { chat, isForced }: { chat: Source; isForced: boolean },
): SessionDocument {
  refuseClosing(document);
  const { home } = document;
  if (home !== null && (!isForced || isSame(home, chat))) return document;
  return { ...document, home: chat };
}

/** `chat` hears nothing more of events and heartbeats; `next` takes its place. */
export function leaveHome(
  document: SessionDocument,
  chat: Source,
  next: Source | null,
): SessionDocument {
  const { home } = document;
  return home !== null && isSame(home, chat) ? { ...document, home: next } : document;
}

export function isSame(a: Source, b: Source): boolean {
  return a.channel === b.channel && a.chatKey === b.chatKey;
}
