import { ArgusError } from "#lib/errors.ts";
import {
  ENDED_INPUT_AGE_MS,
  type EndedInput,
  type LaneInput,
  MAX_ENDED_INPUTS,
  MAX_INPUT_BYTES,
  MAX_OPEN_INPUT_BYTES,
  MAX_OPEN_INPUTS,
  type SessionDocument,
  type Source,
} from "#protocol/session-document.ts";
import type { Reduced } from "./document.ts";

// The only code that changes a session's document: pure, and the same command twice changes nothing the second time.

export interface Enqueue {
  id: string;
  key: string;
  text: string;
  threadId: string | null;
  source: Source | null;
  now: number;
}

/** `ahead` = accepted messages before it that have not ended. */
export type Accepted =
  | { state: "open"; input: LaneInput; ahead: number; repeated: boolean }
  | { state: "ended"; ended: EndedInput };

/** Accepts a message. Throws `InvalidInput`, `TooLarge`, or `Busy` when the lane is full; then nothing was accepted. */
export function enqueue(
  before: SessionDocument,
  wanted: Enqueue,
): Reduced<SessionDocument, Accepted> {
  const document = expire(before, wanted.now);
  const open = document.inputs.findIndex(({ key }) => key === wanted.key);
  const found = document.inputs[open];
  if (found) {
    const answer = { state: "open", input: found, ahead: open, repeated: true } as const;
    return { document: before, answer };
  }
  const ended = document.ended.find(({ key }) => key === wanted.key);
  if (ended) return { document: before, answer: { state: "ended", ended } };
  refuse(document, wanted.text);
  const { now, ...rest } = wanted;
  const input: LaneInput = { ...rest, enqueuedAt: now, state: "waiting" };
  return {
    document: { ...document, inputs: [...document.inputs, input] },
    answer: { state: "open", input, ahead: document.inputs.length, repeated: false },
  };
}

/** From now on the message's turn/start may leave. False: it is not waiting at the head any more. */
export function begin(document: SessionDocument, id: string): Reduced<SessionDocument, boolean> {
  const [head, ...others] = document.inputs;
  if (head?.id !== id) return { document, answer: false };
  if (head.state === "started") return { document, answer: true };
  return {
    document: { ...document, inputs: [{ ...head, state: "started" }, ...others] },
    answer: true,
  };
}

/** The main thread is known. The first one stays. */
export function chooseThread(document: SessionDocument, threadId: string): SessionDocument {
  return document.mainThread === threadId ? document : { ...document, mainThread: threadId };
}

export interface End {
  id: string;
  state: EndedInput["state"];
  reason?: string;
  turnId?: string | null;
  threadId?: string | null;
  now: number;
}

/** The message's turn has ended, or it never gets one. Undefined: it had ended before. */
export function end(
  before: SessionDocument,
  { id, state, reason = "", turnId = null, threadId = null, now }: End,
): Reduced<SessionDocument, EndedInput | undefined> {
  const input = before.inputs.find((each) => each.id === id);
  if (!input) return { document: before, answer: undefined };
  const ended: EndedInput = {
    id,
    key: input.key,
    threadId: threadId ?? input.threadId,
    turnId,
    source: input.source,
    state,
    reason: reason.slice(0, 1024),
    endedAt: now,
  };
  const inputs = before.inputs.filter((each) => each !== input);
  const document = { ...before, inputs, ended: [...before.ended, ended] };
  return { document: expire(document, now), answer: ended };
}

export type Cancelled = "cancelled" | "running" | "ended" | "unknown";

/** Takes back a message that has not started. */
export function cancel(
  document: SessionDocument,
  { id, now }: { id: string; now: number },
): Reduced<SessionDocument, Cancelled> {
  const input = document.inputs.find((each) => each.id === id);
  if (input?.state === "started") return { document, answer: "running" };
  if (!input) {
    const ended = document.ended.some((each) => each.id === id);
    return { document, answer: ended ? "ended" : "unknown" };
  }
  const reason = "cancelled before its turn started";
  return { ...end(document, { id, state: "cancelled", reason, now }), answer: "cancelled" };
}

function refuse({ inputs }: SessionDocument, text: string): void {
  const bytes = Buffer.byteLength(text);
  if (text.trim() === "") throw new ArgusError("InvalidInput", "Missing 'text'");
  if (bytes > MAX_INPUT_BYTES) {
    const message = `A message may have at most ${MAX_INPUT_BYTES} bytes; this one has ${bytes}. Put the rest into a file of the workspace.`;
    throw new ArgusError("TooLarge", message, { bytes, limit: MAX_INPUT_BYTES });
  }
  const waiting = inputs.reduce((sum, each) => sum + Buffer.byteLength(each.text), 0);
  if (inputs.length < MAX_OPEN_INPUTS && waiting + bytes <= MAX_OPEN_INPUT_BYTES) return;
  const message = `${inputs.length} messages wait in this session already: this one was not taken. Try again when some have been answered.`;
  throw new ArgusError("Busy", message, { waiting: inputs.length });
}

/** Forgets ended messages over the bounds: the oldest first. */
function expire(document: SessionDocument, now: number): SessionDocument {
  const young = document.ended.filter(({ endedAt }) => now - endedAt <= ENDED_INPUT_AGE_MS);
  const ended = young.slice(-MAX_ENDED_INPUTS);
  return ended.length === document.ended.length ? document : { ...document, ended };
}
