import { z } from "zod";

/** Bounds of one session's lane; what happens at each stands in docs/bounds.md. */
export const MAX_INPUT_BYTES = 64 * 1024;
export const MAX_OPEN_INPUTS = 200;
/** Texts of all open inputs together: the document stays far below its own bound. */
export const MAX_OPEN_INPUT_BYTES = 1024 * 1024;
export const MAX_ENDED_INPUTS = 1000;
export const ENDED_INPUT_AGE_MS = 7 * 24 * 60 * 60 * 1000;

/** Who sent a message; its answer goes there and nowhere else. */
export const Source = z.object({
  channel: z.string().min(1).max(64),
  chatKey: z.string().min(1).max(256),
});
export type Source = z.infer<typeof Source>;

/** A message that was accepted and whose turn has not ended. Times are ms since the epoch. */
export const LaneInput = z.object({
  /** The turn's `clientUserMessageId`: the bridge starts at most one turn for it. */
  id: z.string().max(64),
  /** The sender's; a repeat is the same message. */
  key: z.string().min(1).max(512),
  text: z.string().max(MAX_INPUT_BYTES),
  /** Null = the session's main thread. */
  threadId: z.string().max(512).nullable(),
  source: Source.nullable(),
  enqueuedAt: z.int(),
  /** `started`: its turn/start may have left; only the bridge knows what became of it. */
  state: z.enum(["waiting", "started"]),
});
export type LaneInput = z.infer<typeof LaneInput>;

/** How an accepted message ended; kept so that a repeat of it is told the same. */
export const EndedInput = z.object({
  id: z.string(),
  key: z.string(),
  threadId: z.string().nullable(),
  turnId: z.string().nullable(),
  source: Source.nullable(),
  state: z.enum(["done", "failed", "interrupted", "cancelled", "unknown"]),
  /** In words, for its sender; empty when done. */
  reason: z.string().max(1024),
  endedAt: z.int(),
});
export type EndedInput = z.infer<typeof EndedInput>;

/** Everything durable of one session object; key: its UID, so that a successor of the same name inherits nothing. */
export const SessionDocument = z.object({
  schemaVersion: z.literal(1),
  /** The session's name, for people who read the store. */
  name: z.string(),
  /** Thread of messages that name none; null until the first one ran. */
  mainThread: z.string().max(512).nullable(),
  /** In the order of their acceptance. */
  inputs: z.array(LaneInput).max(MAX_OPEN_INPUTS),
  /** The oldest first. */
  ended: z.array(EndedInput).max(MAX_ENDED_INPUTS),
});
export type SessionDocument = z.infer<typeof SessionDocument>;
