import { z } from "zod";

/** `POST` of one event for a session. Without `key` it is the older form, which has no protection against repeats. */
export const EVENTS_PATH = "/automation/systemEvent/enqueue";

/** An answer is a few words; more than this is not read. */
export const MAX_EVENT_ANSWER_BYTES = 64 * 1024;

/** What happens to a slot while an earlier one of the same schedule still waits or runs. */
export const ConcurrencyPolicy = z.enum(["Allow", "Forbid", "Replace"]);
export type ConcurrencyPolicy = z.infer<typeof ConcurrencyPolicy>;

/** A schedule's slot as an event. */
export const SlotEvent = z.object({
  /** `<cron uid>/<slot in seconds>`: the same slot has the same key, whoever posts it and however often. */
  key: z.string().min(1).max(128),
  /** Name of the ArgusSession. */
  sessionId: z.string().min(1).max(253),
  kind: z.literal("cron"),
  text: z.string().min(1).max(16_384),
  /** Decided in the same commit as the enqueue, among the events of the same source. */
  concurrencyPolicy: ConcurrencyPolicy,
  slot: z.iso.datetime(),
  source: z.object({ name: z.string().min(1).max(253), uid: z.string().min(1).max(64) }),
});
export type SlotEvent = z.infer<typeof SlotEvent>;

/**
 * 202: the event's fate is committed. A key is remembered with it, and a repeat changes nothing: of a queued one it is answered
 * `duplicate`, of a skipped one `skipped` again.
 *
 * Other answers commit nothing: 404 with {@link EventRefusal} code `SessionNotFound`; any other 404 = this gateway has no such
 * endpoint; 429 and 503 with `Retry-After`; 401 and 403; 400 and 413 for what will never be taken; 5xx.
 */
export const EventAnswer = z.object({
  ok: z.literal(true),
  sessionId: z.string(),
  state: z.enum(["queued", "duplicate", "skipped"]),
  /** Why it was skipped: the earlier event is still active. */
  reason: z.string().max(1024).optional(),
});
export type EventAnswer = z.infer<typeof EventAnswer>;

/** An event as any sender posts it; a schedule's slot is one of them. */
export const EventRequest = z.object({
  /** A repeat is the same event. Without one each request is an event of its own. */
  key: z.string().min(1).max(512).optional(),
  /** Name of the ArgusSession; the one that the token names, else `main`. */
  sessionId: z.string().min(1).max(253).optional(),
  /** `main` = the main thread, as if no thread were named. */
  target: z.string().max(64).nullish(),
  threadId: z.string().min(1).max(512).nullish(),
  kind: z.string().min(1).max(64).default("system"),
  text: z.string(),
  meta: z.record(z.string(), z.unknown()).optional(),
  /** False: it is told in the next turn and starts none. */
  wakes: z.boolean().default(true),
  concurrencyPolicy: ConcurrencyPolicy.default("Allow"),
  slot: z.iso.datetime().optional(),
  /** Only the admin and the controller name one. */
  source: z
    .object({ name: z.string().min(1).max(253), uid: z.string().min(1).max(128) })
    .optional(),
});
export type EventRequest = z.infer<typeof EventRequest>;

/** `GET` with `key` (and `sessionId`): what became of an event. */
export const EVENT_STATUS_PATH = "/automation/systemEvent";

/**
 * 200. `DeadLettered` = given up with a reason; it runs again only when a person replays it. 404 with code `EventNotFound`: this
 * session never had an event of this key, or has forgotten it; `SessionNotFound` as above.
 */
export const EventStatus = z.object({
  ok: z.literal(true),
  key: z.string(),
  state: z.enum(["Queued", "Running", "Succeeded", "DeadLettered", "Skipped"]),
  /** Why it ended so, or why its last try failed; empty when there is nothing to say. */
  reason: z.string().max(1024),
  finishedAt: z.iso.datetime().optional(),
  /** The latest slot of the same source whose turn completed. */
  lastSuccessfulSlot: z.iso.datetime().optional(),
});
export type EventStatus = z.infer<typeof EventStatus>;

/** `POST` of another program's webhook; its name and key stand in the session's `spec.webhooks`. */
export const WEBHOOK_PATH = "/webhooks/:session/:name";

/** 202: it is an event of the session. Refusals as above; 401 = the signature does not hold, with what is wrong. */
export const WebhookAnswer = EventAnswer.omit({ reason: true });
export type WebhookAnswer = z.infer<typeof WebhookAnswer>;

/** The body of a refusal; `code` only where a machine must tell it from others of the same status. */
export const EventRefusal = z.object({
  detail: z.string().optional(),
  code: z.enum(["SessionNotFound", "EventNotFound"]).optional().catch(undefined),
});
export type EventRefusal = z.infer<typeof EventRefusal>;

/** The key of a schedule's slot. */
export function slotKey(cronUid: string, slotMs: number): string {
  return `${cronUid}/${slotMs / 1000}`;
}
