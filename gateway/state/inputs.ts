import { ArgusError } from "#lib/errors.ts";
import {
  type Attachment,
  type EndedInput,
  type LaneInput,
  MAX_INPUT_BYTES,
  MAX_OPEN_INPUTS,
  type Source,
} from "#protocol/lane-entry.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import type { Reduced } from "./document.ts";
import { bytesOf, demandRoom, expire, reasonOf } from "./room.ts";

// Messages of people: pure, and the same command twice changes nothing the second time.

export interface Enqueue {
  id: string;
  key: string;
  text: string;
  attachments?: Attachment[] | undefined;
  threadId: string | null;
  source: Source | null;
  now: number;
  /** Bytes that the store takes of one document. */
  limit: number;
}

/** `ahead` = what has to end before it: messages, and a turn that runs. */
export type Accepted =
  | { state: "open"; input: LaneInput; ahead: number; repeated: boolean }
  | { state: "ended"; ended: EndedInput };

/** Accepts a message. Throws `InvalidInput`, `TooLarge`, `NotFound` (the session is being deleted) or `Busy`; then nothing was accepted. */
export function enqueue(
  before: SessionDocument,
  wanted: Enqueue,
): Reduced<SessionDocument, Accepted> {
  const { now, limit, attachments, ...rest } = wanted;
  const document = expire(before, now, limit);
  const open = document.inputs.find(({ key }) => key === wanted.key);
  if (open) {
    const answer = {
      state: "open",
      input: open,
      ahead: aheadOf(document, open),
      repeated: true,
    } as const;
    return { document: before, answer };
  }
  const ended = document.ended.find(({ key }) => key === wanted.key);
  if (ended) return { document: before, answer: { state: "ended", ended } };
  const input: LaneInput = {
    ...rest,
    ...(attachments?.length ? { attachments } : {}),
    enqueuedAt: now,
  };
  refuse(document, input, limit);
  const inputs = [...document.inputs, input];
  const after = { ...document, inputs };
  return {
    document: after,
    answer: { state: "open", input, ahead: aheadOf(after, input), repeated: false },
  };
}

/** How much has to end before the message's own turn can start. */
export function aheadOf({ inputs, turn }: SessionDocument, input: LaneInput): number {
  const others = turn !== null && turn.inputId === null ? 1 : 0;
  return inputs.findIndex(({ id }) => id === input.id) + others;
}

function refuse(document: SessionDocument, input: LaneInput, limit: number): void {
  refuseClosing(document);
  const { inputs } = document;
  const bytes = Buffer.byteLength(input.text);
  if (input.text.trim() === "" && !input.attachments) {
    throw new ArgusError("InvalidInput", "Missing 'text'");
  }
  if (bytes > MAX_INPUT_BYTES) {
    const message = `A message may have at most ${MAX_INPUT_BYTES} bytes; this one has ${bytes}. Put the rest into a file of the workspace.`;
    throw new ArgusError("TooLarge", message, { bytes, limit: MAX_INPUT_BYTES });
  }
  if (inputs.length >= MAX_OPEN_INPUTS) {
    const message = `${inputs.length} messages wait in this session already: this one was not taken. Try again when some have been answered.`;
    throw new ArgusError("Busy", message, { waiting: inputs.length });
  }
  demandRoom(document, bytesOf(input), limit);
}

/** Throws `NotFound` when the session is being deleted. */
export function refuseClosing({ closing, name }: SessionDocument): void {
  if (closing)
    throw new ArgusError(
      "NotFound",
      `Session ${name} is being deleted: nothing is taken any more.`,
    );
}

export interface InputEnd {
  id: string;
  state: EndedInput["state"];
  reason?: string;
  turnId?: string | null;
  threadId?: string | null;
  now: number;
  limit: number;
}

/** The message's turn has ended, or it never gets one. Undefined: it had ended before. */
export function endInput(
  before: SessionDocument,
  { id, state, reason = "", turnId = null, threadId = null, now, limit }: InputEnd,
): Reduced<SessionDocument, EndedInput | undefined> {
  const input = before.inputs.find((each) => each.id === id);
  if (!input) return { document: before, answer: undefined };
  const { key, source, text, attachments } = input;
  const ended: EndedInput = {
    id,
    key,
    threadId: threadId ?? input.threadId,
    turnId,
    source,
    state,
    reason: reasonOf(reason),
    endedAt: now,
    ...(state === "done" || state === "cancelled"
      ? {}
      : { retry: { text, ...(attachments ? { attachments } : {}) } }),
  };
  const inputs = before.inputs.filter((each) => each !== input);
  const document = { ...before, inputs, ended: [...before.ended, ended] };
  return { document: expire(document, now, limit), answer: ended };
}

export type Cancelled = "cancelled" | "running" | "ended" | "unknown";

/** Takes back a message that has not started. */
export function cancel(
  document: SessionDocument,
  { id, now, limit }: { id: string; now: number; limit: number },
): Reduced<SessionDocument, Cancelled> {
  if (document.turn?.inputId === id) return { document, answer: "running" };
  if (!document.inputs.some((each) => each.id === id)) {
    const ended = document.ended.some((each) => each.id === id);
    return { document, answer: ended ? "ended" : "unknown" };
  }
  const reason = "cancelled before its turn started";
  const { document: after } = endInput(document, { id, state: "cancelled", reason, now, limit });
  return { document: after, answer: "cancelled" };
}

/** Accepts an ended message once more, as a message of its own; a second call finds the first one's. */
export function retryInput(
  document: SessionDocument,
  { inputId, id, now, limit }: { inputId: string; id: string; now: number; limit: number },
): Reduced<SessionDocument, Accepted> {
  const ended = document.ended.find((each) => each.id === inputId);
  if (!ended?.retry) {
    const message = `Message ${inputId} cannot be tried again: it did not fail, or it is too long ago. Send it anew.`;
    throw new ArgusError("InvalidInput", message, { inputId });
  }
  const { threadId, source, retry } = ended;
  return enqueue(document, { id, key: `retry/${inputId}`, ...retry, threadId, source, now, limit });
}

/**
 * A message of the channel shows what the turn of an open message does; its answer takes that one's place. False: it is over, or its
 * answer is on its way already, or an earlier answer is not in the chat yet, which would come to stand below the later one.
 */
export function shownBy(
  document: SessionDocument,
  { inputId, ref }: { inputId: string; ref: string },
): Reduced<SessionDocument, boolean> {
  if (isBehind(document, inputId)) return { document, answer: false };
  if (document.inputs.some(({ id }) => id === inputId)) {
    const inputs = document.inputs.map((each) =>
      each.id === inputId ? { ...each, statusRef: ref } : each,
    );
    return { document: { ...document, inputs }, answer: true };
  }
  const isWaiting = (each: SessionDocument["deliveries"][number]) =>
    each.inputId === inputId && each.sent.length === 0 && each.claim === null && !each.again;
  if (!document.deliveries.some(isWaiting)) return { document, answer: false };
  const deliveries = document.deliveries.map((each) =>
    isWaiting(each) ? { ...each, editRef: ref } : each,
  );
  return { document: { ...document, deliveries }, answer: true };
}

/** Another delivery to the message's chat is open: what stands in the chat already would be above it. */
function isBehind({ inputs, deliveries }: SessionDocument, inputId: string): boolean {
  const own = deliveries.find((each) => each.inputId === inputId);
  const target = own?.target ?? inputs.find(({ id }) => id === inputId)?.source;
  return deliveries.some(
    (each) =>
      each !== own &&
      each.target.channel === target?.channel &&
      each.target.chatKey === target.chatKey,
  );
}
