import { ArgusError } from "#lib/errors.ts";
import { ENDED_AGE_MS } from "#protocol/lane-entry.ts";
import {
  type EndedCall,
  MAX_ENDED_CALLS,
  MAX_QUEUED_BYTES,
  MAX_QUEUED_CALL_BYTES,
  MAX_QUEUED_CALLS,
  MAX_QUEUED_PER_NODE,
  type QueuedCall,
  type QueuedEnd,
  type QueuedRow,
  wordsOf,
} from "#protocol/queued-call.ts";
import type { SessionDocument } from "#protocol/session-document.ts";
import type { Reduced } from "./document.ts";
import { type EnqueueEvent, enqueueEvent } from "./events.ts";
import { refuseClosing } from "./inputs.ts";
import { bytesOf, demandRoom, reasonOf } from "./room.ts";

// Calls for devices that are away: pure, and the same command twice changes nothing the second time.

interface Times {
  now: number;
  /** Bytes that the store takes of one document. */
  limit: number;
}

export type WantedCall = Omit<QueuedCall, "queuedAt" | "expiresAt"> & { queueForMs: number };

/** Accepts a call; a repeat of its id finds the first one, open or ended. Throws `TooLarge`, `Busy` or `NotFound`; then nothing was accepted. */
export function queueCall(
  document: SessionDocument,
  { queueForMs, ...wanted }: WantedCall,
  { now, limit }: Times,
): Reduced<SessionDocument, QueuedRow> {
  const known = rowsOf(document).find(({ callId }) => callId === wanted.id);
  if (known) return { document, answer: known };
  const call: QueuedCall = { ...wanted, queuedAt: now, expiresAt: now + queueForMs };
  refuse(document, call);
  demandRoom(document, bytesOf(call), limit);
  const after = { ...document, calls: [...document.calls, call] };
  return { document: after, answer: openRow(call) };
}

function refuse(document: SessionDocument, call: QueuedCall): void {
  refuseClosing(document);
  const { calls } = document;
  const bytes = Buffer.byteLength(call.paramsJSON);
  if (bytes > MAX_QUEUED_CALL_BYTES) {
    const message = `A call that is to wait may have ${MAX_QUEUED_CALL_BYTES} bytes of parameters; this one has ${bytes}.`;
    throw new ArgusError("TooLarge", message, { bytes, limit: MAX_QUEUED_CALL_BYTES });
  }
  const ofNode = calls.filter(({ nodeId }) => nodeId === call.nodeId).length;
  const sum = calls.reduce((total, each) => total + bytesOf(each), bytesOf(call));
  if (ofNode < MAX_QUEUED_PER_NODE && calls.length < MAX_QUEUED_CALLS && sum <= MAX_QUEUED_BYTES)
    return;
  const message = `${ofNode} calls wait for ${call.nodeId} already, ${calls.length} in this session: this one was not taken. Cancel some (argus jobs), or try again when the device is back.`;
  throw new ArgusError("Busy", message, { node: call.nodeId });
}

/**
 * It is about to be sent to this run of the node-host. Undefined: it is not to be sent (any more).
 */
export function askCall(
  document: SessionDocument,
  { id, boot, now }: { id: string; boot: string | null; now: number },
): Reduced<SessionDocument, QueuedCall | undefined> {
  const call = document.calls.find((each) => each.id === id);
  if (!call || document.closing || call.expiresAt <= now) return { document, answer: undefined };
  if (call.asked?.boot === boot) return { document, answer: call };
  const asked = { ...call, asked: { boot } };
  const calls = document.calls.map((each) => (each === call ? asked : each));
  return { document: { ...document, calls }, answer: asked };
}

/** How a call ended, and the event that tells; without one somebody else does. */
export interface CallEnd {
  id: string;
  state: QueuedEnd;
  reason: string;
  jobId?: string | undefined;
  event?: Omit<EnqueueEvent, "policy" | "now" | "limit" | "threadId"> | undefined;
}

/** Ends a call, and accepts the event that tells it, both or none. False: it had ended before. Throws as {@link enqueueEvent}. */
export function endCall(
  before: SessionDocument,
  { id, state, reason, jobId, event }: CallEnd,
  { now, limit }: Times,
): Reduced<SessionDocument, boolean> {
  const call = before.calls.find((each) => each.id === id);
  if (!call) return { document: before, answer: false };
  const { nodeId, command, queuedAt } = call;
  const ended: EndedCall = {
    id,
    nodeId,
    command,
    words: wordsOf(call),
    state,
    reason: reasonOf(reason),
    ...(jobId === undefined ? {} : { jobId }),
    queuedAt,
    endedAt: now,
  };
  const calls = before.calls.filter((each) => each !== call);
  const endedCalls = kept([...before.endedCalls, ended], now);
  const document = { ...before, calls, endedCalls };
  if (!event) return { document, answer: true };
  const wanted = { ...event, threadId: null, policy: "Allow", now, limit } as const;
  return { document: enqueueEvent(document, wanted).document, answer: true };
}

/** The session is being deleted: what waits will not run. Answers how many those were. */
export function dropCalls(
  before: SessionDocument,
  reason: string,
  times: Times,
): Reduced<SessionDocument, number> {
  const document = before.calls.reduce((each, { id, asked }) => {
    const state = asked ? "unknown" : "cancelled";
    return endCall(each, { id, state, reason }, times).document;
  }, before);
  return { document, answer: before.calls.length };
}

function kept(ended: EndedCall[], now: number): EndedCall[] {
  const young = ended.filter(({ endedAt }) => now - endedAt <= ENDED_AGE_MS);
  return young.slice(-MAX_ENDED_CALLS);
}

/** The one of that id, or whose id begins so. Throws `NotFound` when there is none, or more than one. */
export function findCall({ calls }: SessionDocument, wanted: string): QueuedCall {
  const found = calls.filter(({ id }) => id.startsWith(wanted));
  const [call] = found;
  if (call && found.length === 1) return call;
  const message = `There is no queued call ${wanted} (any more) in this session: argus jobs lists them.`;
  throw new ArgusError("NotFound", message, { call: wanted });
}

/** Open ones in the order in which they go, then ended ones, the newest first. */
export function rowsOf({ calls, endedCalls }: SessionDocument): QueuedRow[] {
  return [...calls.map(openRow), ...endedCalls.map(endedRow).toReversed()];
}

function openRow(call: QueuedCall): QueuedRow {
  const { id: callId, nodeId, command, asked, queuedAt, expiresAt } = call;
  const state = asked ? "sent" : "queued";
  const times = { queuedAtMs: queuedAt, expiresAtMs: expiresAt };
  return { callId, nodeId, command, words: wordsOf(call), state, reason: "", ...times };
}

function endedRow({ id: callId, queuedAt, endedAt, ...rest }: EndedCall): QueuedRow {
  return { ...rest, callId, queuedAtMs: queuedAt, endedAtMs: endedAt };
}
