import { z } from "zod";

/** Bounds of one session's lane; what happens at each stands in docs/bounds.md. */
export const MAX_INPUT_BYTES = 64 * 1024;
export const MAX_OPEN_INPUTS = 200;
export const MAX_EVENT_BYTES = 16 * 1024;
export const MAX_OPEN_EVENTS = 200;
/** Open events of one source: one noisy schedule or device leaves room for the others. */
export const MAX_EVENTS_PER_SOURCE = 50;
export const MAX_EVENT_META_BYTES = 2048;
/** Events in one turn's prompt. */
export const MAX_EVENTS_PER_TURN = 20;
/** How often an event is started again after its turn failed without having run a tool. */
export const MAX_EVENT_RETRIES = 3;
export const MAX_ENDED = 1000;
export const ENDED_AGE_MS = 7 * 24 * 60 * 60 * 1000;
/** Texts that are kept of messages and events that did not end well, so that they can be tried again. */
export const MAX_KEPT_TEXTS = 50;
export const MAX_ATTACHMENTS = 16;
export const MAX_REASON = 1024;

/** Where a message came from; its answer goes there and nowhere else. */
export const Source = z.object({
  channel: z.string().min(1).max(64),
  chatKey: z.string().min(1).max(256),
});
export type Source = z.infer<typeof Source>;

/** A file of the channel that belongs to a message; its bytes are fetched when the message's turn starts. */
export const Attachment = z.object({
  kind: z.enum(["image", "audio", "video", "file"]),
  /** The channel's own word for the file. */
  fileId: z.string().min(1).max(512),
  name: z.string().min(1).max(255),
  mimeType: z.string().max(128).optional(),
  bytes: z.int().min(0).optional(),
});
export type Attachment = z.infer<typeof Attachment>;

/** A message that was accepted and whose turn has not ended. Times are ms since the epoch. */
export const LaneInput = z.object({
  id: z.string().max(64),
  /** The sender's; a repeat is the same message. */
  key: z.string().min(1).max(512),
  text: z.string().max(MAX_INPUT_BYTES),
  attachments: z.array(Attachment).max(MAX_ATTACHMENTS).optional(),
  /** Null = the session's main thread. */
  threadId: z.string().max(512).nullable(),
  source: Source.nullable(),
  enqueuedAt: z.int(),
  /** The channel's message that shows what its turn does: the answer takes its place. */
  statusRef: z.string().max(128).optional(),
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
  reason: z.string().max(MAX_REASON),
  endedAt: z.int(),
  /** Its words, while it can be tried again. */
  retry: z
    .object({ text: z.string(), attachments: z.array(Attachment).max(MAX_ATTACHMENTS).optional() })
    .optional(),
});
export type EndedInput = z.infer<typeof EndedInput>;

/** Who made an event; limits and the concurrency policy count by `uid`. */
export const EventSource = z.object({
  name: z.string().min(1).max(253),
  uid: z.string().min(1).max(128),
});
export type EventSource = z.infer<typeof EventSource>;

/** Something that happened and that the agent is told; it starts a turn when nobody writes. */
export const LaneEvent = z.object({
  id: z.string().max(64),
  /** A repeat is the same event. */
  key: z.string().min(1).max(512),
  kind: z.string().min(1).max(64),
  text: z.string().max(MAX_EVENT_BYTES),
  /** A JSON object as text. */
  meta: z.string().max(MAX_EVENT_META_BYTES).optional(),
  /** Null = the session's main thread. */
  threadId: z.string().max(512).nullable(),
  source: EventSource,
  /** A schedule's slot, RFC 3339. */
  slot: z.string().max(64).optional(),
  createdAt: z.int(),
  /** False: it waits for the next turn and starts none. */
  wakes: z.boolean(),
  /** Turns that it was in and that failed. */
  tries: z.int().min(0),
  /** Not before this time; 0 = at once. */
  notBefore: z.int(),
  /** Why the last try failed. */
  reason: z.string().max(MAX_REASON).optional(),
});
export type LaneEvent = z.infer<typeof LaneEvent>;

/** How an event ended. `dead`: given up with a reason; it can be replayed while `text` is kept. */
export const EndedEvent = z.object({
  id: z.string(),
  key: z.string(),
  kind: z.string(),
  source: EventSource,
  slot: z.string().optional(),
  state: z.enum(["done", "skipped", "dead"]),
  reason: z.string().max(MAX_REASON),
  endedAt: z.int(),
  text: z.string().optional(),
});
export type EndedEvent = z.infer<typeof EndedEvent>;

/** The session's one turn that may have left for the bridge; only the bridge knows what became of it. */
export const OpenTurn = z.object({
  /** Its `clientUserMessageId`: the bridge starts at most one turn for it. */
  id: z.string().max(64),
  kind: z.enum(["message", "events", "heartbeat"]),
  /** The message that it answers. */
  inputId: z.string().max(64).nullable(),
  /** Events that its prompt tells. */
  eventIds: z.array(z.string().max(64)).max(MAX_EVENTS_PER_TURN),
  /** Null = the main thread, which is not known yet. */
  threadId: z.string().max(512).nullable(),
  startedAt: z.int(),
  /** Somebody asked to stop it. */
  stop: z.string().max(MAX_REASON).optional(),
});
export type OpenTurn = z.infer<typeof OpenTurn>;
export type TurnKind = OpenTurn["kind"];
