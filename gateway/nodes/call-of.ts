import { createHash } from "node:crypto";
import type { ArgusSession } from "#crds/kinds.ts";
import type { Call } from "./calls.ts";

/** Without a word of the call. */
const DEFAULT_TIMEOUT_MS = 30_000;
const DEFAULT_APPROVAL_MS = 5 * 60_000;

/** What somebody asks of a node. */
export interface NodeCall {
  node: string | undefined;
  command: string;
  params: unknown;
  /** Unique within the session: a repeat is the same call. */
  callId: string;
  by: "person" | "agent";
  timeoutMs?: number | undefined;
  /** How long it may wait for a device that is away; without it that is an error. */
  queueForMs?: number | undefined;
  signal?: AbortSignal;
}

/** The call as it goes to a node that may take `returnMs` to be there. Pure. */
export function callOf({ metadata }: ArgusSession, wanted: NodeCall, returnMs: number): Call {
  const { command, params, callId, by } = wanted;
  const { name: sessionId, uid: sessionUid = "" } = metadata;
  const timeoutMs = wanted.timeoutMs ?? defaultTimeout(command, params);
  return {
    id: callIdOf(sessionUid, callId),
    sessionUid,
    sessionId,
    command,
    by,
    paramsJSON: JSON.stringify(params ?? {}),
    timeoutMs,
    approvalMs: wanted.timeoutMs ?? DEFAULT_APPROVAL_MS,
    waitMs: Math.min(wanted.timeoutMs ?? returnMs, returnMs),
  };
}

/** One session cannot name another's call. */
const callIdOf = (sessionUid: string, callId: string) =>
  createHash("sha256").update(`${sessionUid} ${callId}`).digest("hex").slice(0, 32);

/** A command that waits for its program needs that time on top. */
function defaultTimeout(command: string, params: unknown): number {
  if (command !== "system.run") return DEFAULT_TIMEOUT_MS;
  const { yieldMs } = (params ?? {}) as { yieldMs?: unknown };
  return DEFAULT_TIMEOUT_MS + (typeof yieldMs === "number" ? Math.max(0, yieldMs) : 10_000);
}
