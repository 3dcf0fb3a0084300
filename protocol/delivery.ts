import { z } from "zod";
import { MAX_REASON, Source } from "./lane-entry.ts";

/** Text of one delivery; what is over it stays in the thread, and the message says so. */
export const MAX_DELIVERY_BYTES = 256 * 1024;
export const MAX_PARTS = 128;
/** An unclear send is repeated once, after this. */
export const AMBIGUOUS_WAIT_MS = 30_000;
/** A delivery that could not be sent for so long is given up. */
export const MAX_DELIVERY_AGE_MS = 24 * 60 * 60 * 1000;

/** How a part is sent: `edit` changes a message whose reference is known, so a repeat of it does nothing twice. */
export const SendMode = z.enum(["send", "edit"]);
export type SendMode = z.infer<typeof SendMode>;

/** One turn's words to one chat, sent in parts by the chat's adapter. Times are ms since the epoch. */
export const Delivery = z.object({
  id: z.string().max(64),
  target: Source,
  kind: z.enum(["message", "events", "heartbeat", "notice"]),
  /** The message that it answers. */
  inputId: z.string().nullable(),
  threadId: z.string().nullable(),
  /** The app-server's turn. */
  turnId: z.string().nullable(),
  /** Markdown. */
  text: z.string().max(MAX_DELIVERY_BYTES),
  /** The message can be tried again: `argus/input/retry` with `inputId`. */
  canRetry: z.boolean(),
  createdAt: z.int(),
  /** Not before this time; it outlives restarts, as a channel's `retry_after` must. */
  notBefore: z.int(),
  /** Length of the pause that ends then, where a channel or a failure asked for one. */
  pauseMs: z.int().min(0).optional(),
  /** Tries that did not send anything, since the last part that was. */
  attempts: z.int().min(0),
  /** Why the last try failed. */
  reason: z.string().max(MAX_REASON),
  /** Who sends it now. */
  claim: z.object({ adapter: z.string().max(128), epoch: z.int(), until: z.int() }).nullable(),
  /** Number of parts, once the adapter has told it. */
  parts: z.int().min(1).max(MAX_PARTS).nullable(),
  /** References of the parts that are over, in order; null = nobody knows whether it arrived. */
  sent: z.array(z.string().max(128).nullable()).max(MAX_PARTS),
  /** The part whose request may have left. Its number is `sent.length`. */
  sending: z.object({ mode: SendMode, since: z.int() }).nullable(),
  /** Message that the first part takes the place of; absent = it comes as one of its own. */
  editRef: z.string().max(128).optional(),
  /** The next part is the second try of one whose fate is unknown: it is marked `↻`. */
  again: z.boolean(),
});
export type Delivery = z.infer<typeof Delivery>;

export const EndedDelivery = z.object({
  id: z.string(),
  target: Source,
  inputId: z.string().nullable(),
  /** `ambiguous`: sent, but nobody knows of `unclear` parts whether they arrived. */
  state: z.enum(["delivered", "ambiguous", "dead"]),
  unclear: z.int().min(0),
  reason: z.string().max(MAX_REASON),
  /** Reference of the first part, for quotes and edits. */
  ref: z.string().nullable(),
  endedAt: z.int(),
  /** What a dead one would have said, while it is kept. */
  text: z.string().optional(),
});
export type EndedDelivery = z.infer<typeof EndedDelivery>;
