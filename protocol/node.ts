import { z } from "zod";

/**
 * `/nodes/ws`: a device (node-host) connects to the gateway and runs commands for it. All text frames are
 * `{"type":"event","event":<name>,"payload":{…}}`, except the first one of a node, which is `connect` or `pair.request`.
 * The frames of the seed stay valid both ways; everything else is an extension: the node names what it can in
 * `connect.extensions`, the gateway what it takes in `node.connected.extensions`, and only what both name is used.
 * Times are durations counted from the receipt of a frame, never clock times of the other side, unless named `…AtMs`.
 */

/**
 * - `stream`: {@link StreamOpen}, binary chunks ({@link writeChunkHeader}), {@link StreamAck}, {@link StreamEnd}, {@link StreamClose}
 * - `cancel`: {@link InvokeCancel}
 * - `exit-ack`: `node.process.exited` is repeated after each connect until {@link ExitAck} names its job
 * - `approval`: {@link ApprovalRequest}, {@link ApprovalAnswer}
 */
export const NODE_EXTENSIONS = ["stream", "cancel", "exit-ack", "approval"] as const;

const id = z.string().min(1).max(128);
const label = z.string().max(256);

/** First frame of a node. Example: `{"type":"connect","nodeId":"laptop","commands":["system.run"],"extensions":["stream"]}` */
export const NodeConnect = z.looseObject({
  type: z.literal("connect"),
  nodeId: id,
  displayName: label.optional(),
  platform: label.optional(),
  version: label.optional(),
  caps: z.array(label).max(64).optional(),
  commands: z.array(label).max(128).optional(),
  extensions: z.array(label).max(64).optional(),
  /** Of this run of the node-host: with the same one it still knows every call that it was given. */
  boot: z.string().min(1).max(64).optional(),
  /** Counts the connections of that run: an earlier one may arrive late. */
  connection: z.int().min(0).optional(),
});
export type NodeConnect = z.infer<typeof NodeConnect>;

/** A text frame after the first. Unknown events are ignored. */
export const NodeEvent = z.object({
  type: z.literal("event"),
  event: z.string().max(64),
  payload: z.unknown().optional(),
});
export type NodeEvent = z.infer<typeof NodeEvent>;

/** `node.connected`, the gateway's answer to `connect`. */
export const NodeConnected = z.looseObject({
  nodeId: id,
  extensions: z.array(label).max(64).default([]),
});

/** Close code and reason when another connection took this node's id: the one that was replaced must not come back soon. */
export const NODE_REPLACED_CODE = 1012;

/**
 * `node.invoke.request`. The node answers each id once: a repeat gets the answer of the first, also after a reconnect, and for
 * `system.run` also after a restart of the node-host.
 */
export const InvokeRequest = z.looseObject({
  id,
  nodeId: id,
  command: label,
  /** The command's parameters as JSON text. */
  paramsJSON: z.string().nullish(),
  /** How long the gateway waits for the answer; the node only uses it as the deadline of an approval. */
  timeoutMs: z.number().nullish(),
  /** Whose agent asks; absent from a seed gateway. Jobs belong to the session that started them. */
  sessionId: id.nullish(),
  /** Who asks: a person with the gateway's token, or (also when absent) the session's agent. */
  by: z.enum(["person", "agent"]).nullish(),
});
export type InvokeRequest = z.infer<typeof InvokeRequest>;

export const NodeErrorCode = z.enum([
  "BAD_INPUT", // the parameters are wrong; the message names what
  "SPAWN_FAILED", // the program could not be started; nothing ran
  "NOT_READY",
  "NOT_FOUND",
  "NOT_RUNNING",
  "UNSUPPORTED", // no such command here, or this device cannot do it
  "DENIED", // the device's policy, its owner, or no answer in time; nothing ran
  "CANCELED", // withdrawn before anything ran
  "BUSY", // a bound is reached; nothing ran
  "TOO_LARGE",
  "OUTCOME_UNKNOWN", // it may have run; the message says why nobody knows
]);
export type NodeErrorCode = z.infer<typeof NodeErrorCode>;

export const NodeFailure = z.looseObject({
  code: z.string(),
  message: z.string().optional(),
  /** The job that the call had started. */
  jobId: id.optional(),
});
export type NodeFailure = z.infer<typeof NodeFailure>;

/** `node.invoke.result`. To a seed gateway `payloadJSON` carries the payload a second time. */
export const InvokeResult = z.looseObject({
  id,
  nodeId: id,
  ok: z.boolean(),
  payload: z.unknown().optional(),
  payloadJSON: z.string().nullish(),
  error: NodeFailure.nullish(),
});
export type InvokeResult = z.infer<typeof InvokeResult>;

/** `node.invoke.cancel`: a call that waits for approval ends as CANCELED, a running `system.run` is killed as a tree. */
export const InvokeCancel = z.object({ id });

/** `node.process.exited`: a job ended. `orphaned` = its supervisor was lost, so nobody knows how. */
export const ProcessExited = z.looseObject({
  nodeId: id,
  sessionId: id.nullable(),
  jobId: id,
  argv: z.array(z.string()),
  cwd: z.string(),
  exitCode: z.int().nullable(),
  signal: z.string().nullable(),
  timedOut: z.boolean(),
  orphaned: z.boolean().default(false),
  reason: z.string().nullish(),
  startedAtMs: z.number().nullable(),
  endedAtMs: z.number().nullable(),
  stdoutTail: z.string(),
  stderrTail: z.string(),
});
export type ProcessExited = z.infer<typeof ProcessExited>;

/** `node.process.exited.ack`: the gateway has committed the event. */
export const ExitAck = z.object({ jobId: id });

/** `node.stream.open`: send a job's output from these byte offsets on. Opening again after a cut is how a stream resumes. */
export const StreamOpen = z.object({
  /** Chosen by the gateway, unique on this connection. */
  streamId: z.int().min(0).max(0xffff_ffff),
  jobId: id,
  sessionId: id.nullish(),
  stdoutOffset: z.int().min(0).default(0),
  stderrOffset: z.int().min(0).default(0),
});
export type StreamOpen = z.infer<typeof StreamOpen>;

/** `node.stream.ack`: all bytes before these offsets have arrived; the node sends at most {@link STREAM_WINDOW_BYTES} ahead. */
export const StreamAck = z.object({
  streamId: z.int().min(0),
  stdout: z.int().min(0),
  stderr: z.int().min(0),
});
export const STREAM_WINDOW_BYTES = 1024 * 1024;

/** `node.stream.close`, from the gateway: no more of this stream. The job runs on. */
export const StreamClose = z.object({ streamId: z.int().min(0) });

/** `node.stream.end`: all bytes were sent and the job has ended, or `error` says why there is no stream. */
export const StreamEnd = z.looseObject({
  streamId: z.int().min(0),
  stdoutBytes: z.int().min(0).optional(),
  stderrBytes: z.int().min(0).optional(),
  exitCode: z.int().nullish(),
  signal: z.string().nullish(),
  timedOut: z.boolean().optional(),
  reason: z.string().nullish(),
  error: NodeFailure.optional(),
});
export type StreamEnd = z.infer<typeof StreamEnd>;

/** `node.approval.request`: the owner is to decide within `expiresInMs`; no answer is a refusal. */
export const ApprovalRequest = z.object({
  approvalId: id,
  invokeId: id,
  sessionId: id.nullable(),
  command: label,
  /** What would run, for a person; control characters may be in it. */
  summary: z.string().max(4096),
  cwd: z.string().nullable(),
  expiresInMs: z.int(),
});
export type ApprovalRequest = z.infer<typeof ApprovalRequest>;

/** `node.approval.answer`. */
export const ApprovalAnswer = z.object({
  approvalId: id,
  decision: z.enum(["accept", "decline"]),
});

/** First frame of a device that has no token yet. Its key stays the same over reconnects, so it gets the same code again. */
export const PairRequest = z.object({
  type: z.literal("pair.request"),
  nodeId: id,
  displayName: label.optional(),
  platform: label.optional(),
  /** Ed25519, 32 bytes, base64url. */
  publicKey: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
});
export type PairRequest = z.infer<typeof PairRequest>;

/** `pair.challenge`, from the gateway: sign {@link pairingProof} of this nonce. */
export const PairChallenge = z.object({ nonce: z.string().min(16).max(128) });
/** `pair.proof`: Ed25519 signature, base64url. */
export const PairProof = z.object({ signature: z.string().max(128) });
/** `pair.pending`: the device shows the code, its owner confirms it in chat, page or CLI. */
export const PairPending = z.object({ code: z.string().min(4).max(32), expiresInMs: z.int() });
/** `pair.confirmed`: repeated for the same key until the device has connected with the token once. */
export const PairConfirmed = z.object({ nodeId: id, token: z.string().min(16).max(8192) });
/** `pair.refused`: by the owner, or the code expired. */
export const PairRefused = z.object({ reason: z.string().max(1024) });
export const pairingProof = (nonce: string) => `argus-pair-v1:${nonce}`;

const CHUNK_KIND = 1;
export const CHUNK_HEADER_BYTES = 14;
export type OutputName = "stdout" | "stderr";

export interface OutputChunk {
  streamId: number;
  output: OutputName;
  /** Of the first byte in this output. */
  offset: number;
  bytes: Buffer;
}

/**
 * Writes the first {@link CHUNK_HEADER_BYTES} of a chunk's binary frame: kind 1, output (1 = stdout, 2 = stderr), u32 stream id, u64 offset (big
 * endian). The bytes follow as they are.
 */
export function writeChunkHeader(
  frame: Buffer,
  { streamId, output, offset }: Omit<OutputChunk, "bytes">,
): void {
  frame.writeUInt8(CHUNK_KIND, 0);
  frame.writeUInt8(output === "stdout" ? 1 : 2, 1);
  frame.writeUInt32BE(streamId, 2);
  frame.writeBigUInt64BE(BigInt(offset), 6);
}

/** Undefined for a binary frame that is no chunk. */
export function decodeChunk(frame: Buffer): OutputChunk | undefined {
  if (frame.length < CHUNK_HEADER_BYTES || frame.readUInt8(0) !== CHUNK_KIND) return undefined;
  return {
    streamId: frame.readUInt32BE(2),
    output: frame.readUInt8(1) === 1 ? "stdout" : "stderr",
    offset: Number(frame.readBigUInt64BE(6)),
    bytes: frame.subarray(CHUNK_HEADER_BYTES),
  };
}
