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

/** The body of a refusal; `code` only where a machine must tell it from others of the same status. */
export const EventRefusal = z.object({
  detail: z.string().optional(),
  code: z.enum(["SessionNotFound"]).optional().catch(undefined),
});
export type EventRefusal = z.infer<typeof EventRefusal>;

/** The key of a schedule's slot. */
export function slotKey(cronUid: string, slotMs: number): string {
  return `${cronUid}/${slotMs / 1000}`;
}
