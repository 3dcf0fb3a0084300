import { ProcessExited } from "#protocol/node.ts";
import { type QueuedCall, type QueuedEnd, wordsOf } from "#protocol/queued-call.ts";
import type { CallEnd } from "../state/calls.ts";
import type { Outcome } from "./calls.ts";
import { exitText } from "./exits.ts";

// How a queued call ended, as its session reads it. Pure.

/** Of a refusal; any other code says that nothing ran. */
const STATES: Partial<Record<string, QueuedEnd>> = {
  CANCELED: "cancelled",
  OUTCOME_UNKNOWN: "unknown",
  TIMEOUT: "unknown",
  NODE_DISCONNECTED: "unknown",
};
const MAX_ANSWER_WORDS = 1500;

/** A device's answer to the call; `label` names the device for people. */
export function answered(call: QueuedCall, outcome: Outcome, label: string): CallEnd {
  const { ok, payload, error } = outcome;
  const jobId = jobOf(payload) ?? error?.jobId;
  if (!ok) {
    const { code = "OUTCOME_UNKNOWN", message = "" } = error ?? {};
    const state = STATES[code] ?? "failed";
    return ended(call, { state, reason: `${code}: ${message}`, label, jobId });
  }
  if (isRunning(payload)) return { id: call.id, state: "started", reason: "", jobId };
  const text = resultText(call, payload, label);
  return { id: call.id, state: "done", reason: "", jobId, event: eventOf(call, text, jobId) };
}

const FACTS = {
  done: "has ended",
  started: "has started",
  failed: "did not run",
  expired: "did not run: it waited too long",
  cancelled: "did not run: it was cancelled",
  revoked: "did not run: the device may not be used by this session any more",
  unknown: "may have run",
} satisfies Record<QueuedEnd, string>;

/** An end without a result. */
export function ended(
  call: QueuedCall,
  about: { state: QueuedEnd; reason: string; label: string; jobId?: string | undefined },
): CallEnd {
  const { state, reason, label, jobId } = about;
  const lines = [
    `A queued call for ${label} ${FACTS[state]}.`,
    ...head(call),
    reason ? `reason: ${reason.slice(0, 1000)}` : "",
  ];
  const text = lines.filter(Boolean).join("\n");
  return { id: call.id, state, reason, jobId, event: eventOf(call, text, jobId) };
}

const head = (call: QueuedCall) => [
  `call: ${call.id} (queued ${new Date(call.queuedAt).toISOString()})`,
  `command: ${call.command} ${wordsOf(call)}`,
];

function resultText(call: QueuedCall, payload: unknown, label: string): string {
  const { data: job } = ProcessExited.safeParse({
    ...ENDED,
    sessionId: null,
    nodeId: call.nodeId,
    ...asRecord(payload),
    stdoutTail: asRecord(payload).stdout,
    stderrTail: asRecord(payload).stderr,
  });
  if (job) return `${exitText(job, label)}\n${head(call)[0]}`;
  const answer = JSON.stringify(payload ?? null).slice(0, MAX_ANSWER_WORDS);
  return [`A queued call for ${label} has ended.`, ...head(call), `answer: ${answer}`].join("\n");
}

const ENDED = { orphaned: false, startedAtMs: null, endedAtMs: null };

const asRecord = (value: unknown): Record<string, unknown> =>
  typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};

const isRunning = (payload: unknown) => asRecord(payload).running === true;

function jobOf(payload: unknown): string | undefined {
  const { jobId } = asRecord(payload);
  return typeof jobId === "string" ? jobId : undefined;
}

/** Under the key of its job's end, which the device tells too when it was started again: told once. */
function eventOf({ id, nodeId, command }: QueuedCall, text: string, jobId: string | undefined) {
  const about = jobId === undefined ? `queued/${id}` : `${jobId}/exited`;
  const meta = { nodeId, callId: id, command, ...(jobId ? { jobId } : {}) };
  return {
    id: `q-${id}`,
    key: `node/${nodeId}/${about}`,
    kind: "process",
    text,
    meta: JSON.stringify(meta),
    wakes: true,
    source: { name: nodeId, uid: `node:${nodeId}`.slice(0, 128) },
  };
}
