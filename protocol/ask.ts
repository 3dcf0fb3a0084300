import { z } from "zod";
import { Source } from "./lane-entry.ts";

/** Questions of a session to people that are remembered. */
export const MAX_ASKS = 16;
/** An answer later than this counts as a refusal; the bridge itself waits a minute longer. */
export const ASK_WAIT_MS = 29 * 60_000;
/** What is shown of a command, of changes. */
export const MAX_ASK_DETAIL = 2048;
export const MAX_ASK_CHOICES = 8;
/** Characters of an answer in a person's own words. */
export const MAX_ASK_TEXT = 4096;

/** What a person reads, and what can be chosen; plain text. */
export const AskWords = z.object({
  question: z.string().max(512),
  /** The command, the files: shown as it is. */
  detail: z.string().max(MAX_ASK_DETAIL),
  /** Why it is wanted, in the agent's words; empty = it says nothing. */
  reason: z.string().max(512),
  choices: z.array(z.string().min(1).max(64)).max(MAX_ASK_CHOICES),
  /** A reply in the person's own words is an answer, too. */
  free: z.boolean().optional(),
});
export type AskWords = z.infer<typeof AskWords>;

/** Something that a person has to decide, asked in a chat. Times are ms since the epoch. */
export const Ask = z.object({
  id: z.string().max(64),
  /** What waits for the answer: `turn/<number at the bridge>` or `node/<approval id>`. */
  key: z.string().max(192),
  /** The session's turn that it belongs to; null = none, its end does not end it. */
  turn: z.string().max(64).nullable(),
  target: Source,
  inputId: z.string().max(64).nullable(),
  words: AskWords,
  openedAt: z.int(),
  until: z.int(),
  /** `over` without a choice and a text: nobody decided, and nobody will. */
  state: z.enum(["open", "over"]),
  /** Number of what was chosen. */
  choice: z.int().min(0).nullable(),
  /** What was answered instead, in the person's own words. */
  text: z.string().max(MAX_ASK_TEXT).optional(),
  /** What became of it, for people; empty while it is open. */
  outcome: z.string().max(512),
  /** It may have been told to an adapter: whether it was shown is not known until that is told. */
  told: z.boolean(),
  /** The channel's message that shows it. */
  ref: z.string().max(128).nullable(),
  /** What the channel has shown of it. */
  shown: z.enum(["nothing", "open", "over"]),
});
export type Ask = z.infer<typeof Ask>;

/** For a choice that lets something happen, and for one that does not. */
export const ALLOW = "Allow";
export const REFUSE = "Refuse";
