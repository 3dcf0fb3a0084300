import { z } from "zod";
import { MAX_PEOPLE } from "./access.ts";
import { AskWords, MAX_ASK_CHOICES } from "./ask.ts";

// Questions to people between the gateway and a channel; docs/channels.md tells the rules.

const AskId = z.string().min(1).max(64);
const Ref = z.string().min(1).max(128);

/** Notice to the adapter: show this, or change the message `ref` that shows it. Told again until `channel/ask/shown`. */
export const AskNotice = z.object({
  askId: AskId,
  sessionId: z.string(),
  chatKey: z.string(),
  /** The message whose turn asks. */
  inputId: z.string().nullable(),
  ...AskWords.shape,
  /** Until when an answer counts, ms since the epoch. */
  until: z.int(),
  /** Empty = it is open. Else it is over: its choices go, these words come. */
  outcome: z.string(),
  ref: Ref.nullable(),
  /** Nobody knows whether it was shown before. */
  again: z.boolean(),
});
export type AskNotice = z.infer<typeof AskNotice>;

/** It is shown. Without `ref`: nobody knows whether, or under which name. */
export const AskShownParams = z.object({
  askId: AskId,
  state: z.enum(["open", "over"]),
  ref: Ref.optional(),
  /** It cannot be shown in this chat: why. */
  failed: z.string().max(300).optional(),
});
export type AskShownParams = z.infer<typeof AskShownParams>;

const PersonId = z.string().min(1).max(192);

/** Somebody chose. */
export const AskAnswerParams = z.object({
  askId: AskId,
  chatKey: z.string().min(1).max(192),
  isGroup: z.boolean(),
  choice: z
    .int()
    .min(0)
    .max(MAX_ASK_CHOICES - 1),
  person: z.object({ id: PersonId, name: z.string().max(128) }),
  /** The message in which it was chosen. */
  ref: Ref.optional(),
  allow: z
    .object({
      owners: z.array(PersonId).max(MAX_PEOPLE).default([]),
      members: z.array(PersonId).max(MAX_PEOPLE).default([]),
    })
    .prefault({}),
});
/** `isFirst`: this answer decided. `outcome`: what was decided, also before. */
export const AskAnswerResult = z.object({ isFirst: z.boolean(), outcome: z.string() });
export type AskAnswerResult = z.infer<typeof AskAnswerResult>;

export const CHANNEL_ASK = {
  ask: "channel/ask",
  shown: "channel/ask/shown",
  answer: "channel/ask/answer",
} as const;
