import { z } from "zod";

/** Bounds of the calls that wait for a device which is away; what happens at each stands in docs/bounds.md. */
export const MAX_QUEUED_CALLS = 50;
/** Of them for one device. */
export const MAX_QUEUED_PER_NODE = 20;
/** Parameters of one call, as JSON. */
export const MAX_QUEUED_CALL_BYTES = 64 * 1024;
/** Of all of a session. */
export const MAX_QUEUED_BYTES = 256 * 1024;
export const MAX_QUEUE_MS = 7 * 24 * 60 * 60 * 1000;
export const MIN_QUEUE_MS = 1000;
/** Ends of queued calls that a repeat of the call, and `argus jobs`, are told. */
export const MAX_ENDED_CALLS = 100;
export const MAX_CALL_WORDS = 256;

/** How long a call may wait for its device, ms; without it a device that is away is an error. */
export const QueueForMs = z.int().min(MIN_QUEUE_MS).max(MAX_QUEUE_MS);

/** A call that was accepted for a device which is away. Times are ms since the epoch, by the gateway's clock. */
export const QueuedCall = z.object({
  /** As the device gets it: it answers each id once. */
  id: z.string().min(1).max(64),
  nodeId: z.string().max(128),
  command: z.string().max(256),
  by: z.enum(["person", "agent"]),
  paramsJSON: z.string().max(MAX_QUEUED_CALL_BYTES),
  timeoutMs: z.int(),
  approvalMs: z.int(),
  queuedAt: z.int(),
  expiresAt: z.int(),
  /** It may have reached the device, in this run of its node-host; null = one that does not name its runs. */
  asked: z.object({ boot: z.string().max(64).nullable() }).optional(),
});
export type QueuedCall = z.infer<typeof QueuedCall>;

/**
 * - `done`: the device answered; what it said is an event
 * - `started`: its program runs as `jobId`, whose end will be an event
 * - `failed`: the device refused it, or the program could not be started; nothing ran
 * - `expired`, `cancelled`, `revoked`: it was never sent; nothing ran
 * - `unknown`: it was sent, and nobody knows what became of it
 */
export const QueuedEnd = z.enum([
  "done",
  "started",
  "failed",
  "expired",
  "cancelled",
  "revoked",
  "unknown",
]);
export type QueuedEnd = z.infer<typeof QueuedEnd>;

/** How a queued call ended. */
export const EndedCall = z.object({
  id: z.string(),
  nodeId: z.string(),
  command: z.string(),
  /** What it ran, cut. */
  words: z.string().max(MAX_CALL_WORDS),
  state: QueuedEnd,
  reason: z.string().max(1024),
  jobId: z.string().max(128).optional(),
  queuedAt: z.int(),
  endedAt: z.int(),
});
export type EndedCall = z.infer<typeof EndedCall>;

/** `argus/node/queue/list`: a row of `calls`. Open ones have state `queued`, or `sent` once the device may have got them. */
export const QueuedRow = z.object({
  callId: z.string(),
  nodeId: z.string(),
  command: z.string(),
  words: z.string(),
  state: z.union([z.literal("queued"), z.literal("sent"), QueuedEnd]),
  reason: z.string(),
  jobId: z.string().optional(),
  queuedAtMs: z.number(),
  /** Of an open one. */
  expiresAtMs: z.number().optional(),
  endedAtMs: z.number().optional(),
});
export type QueuedRow = z.infer<typeof QueuedRow>;
export const QueuedRows = z.object({ calls: z.array(QueuedRow) });

/** `argus/node/queue/cancel`: by the call's id or the beginning of it. */
export const QueueCancelParams = z.object({ call: z.string().trim().min(4).max(64) });

/** Payload of the answer to a call that was queued, or whose repeat finds it so. */
export const QueuedPayload = z.object({ queued: z.literal(true), ...QueuedRow.shape });

const Shown = z.object({
  argv: z.array(z.string()).optional(),
  path: z.string().optional(),
  jobId: z.string().optional(),
});

/** What a call does, for people: a program's words, else its command. Pure. */
export function wordsOf({ command, paramsJSON }: { command: string; paramsJSON: string }): string {
  const { argv, path = "", jobId = path } = Shown.safeParse(JSON.parse(paramsJSON)).data ?? {};
  return (argv?.join(" ") ?? `${command} ${jobId}`).trim().slice(0, MAX_CALL_WORDS);
}
