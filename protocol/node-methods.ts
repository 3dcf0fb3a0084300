import { z } from "zod";
import { QueueForMs } from "./queued-call.ts";

/**
 * `argus/node/*` of `/ws`: a person works on the devices of the connection's session. Results carry `ok: true`.
 * A device is named by its id, its display name where that is unique, or `self` for the session's own pod.
 */

const name = z.string().min(1).max(256);

/** A row of `argus/node/list` and of the agent's `nodes_list`. Times are ms since the epoch. */
export const NodeRow = z.object({
  nodeId: z.string(),
  displayName: z.string(),
  platform: z.string(),
  version: z.string(),
  caps: z.array(z.string()),
  commands: z.array(z.string()),
  connected: z.boolean(),
  connectedAtMs: z.number().nullable(),
  lastSeenMs: z.number().nullable(),
  /** The sessions that may use it; only the admin sees them. */
  sessions: z.array(z.string()).optional(),
});
export type NodeRow = z.infer<typeof NodeRow>;

/** `argus/node/list`: `{nodes}`. `all`: also those of other sessions; only the admin. */
export const NodeListParams = z.object({ all: z.boolean().default(false) });

export const MAX_INVOKE_MS = 3_700_000;
/** `argus/node/invoke`: a {@link NodeAnswer}. The same `callId` is the same call, also on another connection. */
export const NodeInvokeParams = z.object({
  node: name,
  command: name,
  params: z.unknown().optional(),
  /** How long an answer is waited for; then the outcome is not known. */
  timeoutMs: z.int().min(1).max(MAX_INVOKE_MS).optional(),
  callId: z.string().min(1).max(256).optional(),
  /** A device that is away gets it when it comes back within that time; the answer is a {@link QueuedPayload} then. */
  queueForMs: QueueForMs.optional(),
});

/** What became of a call. */
export const NodeAnswer = z.object({
  ok: z.boolean(),
  nodeId: z.string(),
  command: z.string(),
  payload: z.unknown().optional(),
  /** Codes: `NodeErrorCode` of node.ts and those of the gateway, see docs/nodes.md. */
  error: z
    .object({ code: z.string(), message: z.string(), jobId: z.string().optional() })
    .nullable(),
});
export type NodeAnswer = z.infer<typeof NodeAnswer>;

/**
 * `argus/node/stream/open`: a job's output as binary frames ({@link writeChunkHeader} of node.ts) under `streamId`, from these offsets on,
 * also over a device's reconnects; then `argus/node/stream/ended`.
 */
export const NodeStreamParams = z.object({
  /** Chosen by the client, unique on its connection. */
  streamId: z.int().min(0).max(0xffff_ffff),
  node: name,
  jobId: z.string().min(1).max(128),
  stdoutOffset: z.int().min(0).default(0),
  stderrOffset: z.int().min(0).default(0),
});
export const NodeStreamCloseParams = z.object({ streamId: z.int().min(0) });

export const NODE_STREAM_ENDED = "argus/node/stream/ended";
/** How the job ended, or why there is no more output: `error`. */
export const NodeStreamEnded = z.looseObject({
  streamId: z.int(),
  exitCode: z.int().nullish(),
  signal: z.string().nullish(),
  timedOut: z.boolean().optional(),
  reason: z.string().nullish(),
  error: z.looseObject({ code: z.string(), message: z.string().optional() }).optional(),
});
export type NodeStreamEnded = z.infer<typeof NodeStreamEnded>;

/** `argus/node/approve` and `argus/node/refuse`: of a device that shows a pairing code, or of a command that waits for its owner. */
export const NodeCodeParams = z.object({ code: z.string().trim().min(4).max(128) });
/** `argus/node/revoke`: the session may use it no more; by the admin: nobody may, and it is cut off. */
export const NodeNameParams = z.object({ node: name });

/** A row of `pairings` of `argus/node/pending`. */
export const PairingRow = z.object({
  code: z.string(),
  nodeId: z.string(),
  displayName: z.string(),
  platform: z.string(),
  expiresAtMs: z.number(),
});
export type PairingRow = z.infer<typeof PairingRow>;

/** A row of `approvals` of `argus/node/pending`; and the params of `argus/node/approval`, to clients that asked about nodes. */
export const ApprovalRow = z.object({
  approvalId: z.string(),
  nodeId: z.string(),
  command: z.string(),
  summary: z.string(),
  cwd: z.string().nullable(),
  expiresAtMs: z.number(),
});
export type ApprovalRow = z.infer<typeof ApprovalRow>;
export const NODE_APPROVAL = "argus/node/approval";
/** `argus/node/pending`. */
export const NodePending = z.object({
  pairings: z.array(PairingRow),
  approvals: z.array(ApprovalRow),
});
