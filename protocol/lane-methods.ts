import { z } from "zod";
import { type EndedInput, Source, type TurnKind } from "./lane-entry.ts";

/** `argus/input/enqueue`. `key` makes a repeat the same message; without one each call is a message of its own. */
export const EnqueueParams = z.object({
  text: z.string(),
  key: z.string().min(1).max(512).optional(),
  threadId: z.string().min(1).max(512).nullish(),
  /** `main` = the main thread, as if no thread were named. */
  target: z.string().nullish(),
  source: Source.nullish(),
});

/** Answer of `argus/input/enqueue`: the message is on the disk. */
export interface EnqueueResult {
  ok: true;
  inputId: string;
  /** Null until the session's first turn made its main thread. */
  threadId: string | null;
  /** Nothing was ahead of it: its turn is being started. */
  started: boolean;
  queued: boolean;
  /** Messages ahead of it. */
  followupDepth: number;
  turnId: string | null;
  /** What it waits for, in words. */
  waitsFor: string;
  /** The key was known: nothing new was accepted. */
  repeated: boolean;
  /** It had ended before. */
  ended?: EndedInput;
}

export const InputParams = z.object({ inputId: z.string().min(1).max(64) });

/** `argus/turn/progress` to every client of the session: a turn runs, and what it does changed. At most once a second. */
export const TURN_PROGRESS = "argus/turn/progress";
export interface TurnProgress {
  /** Of the turn, not of the message. */
  id: string;
  kind: TurnKind;
  /** The message that it answers. */
  inputId: string | null;
  threadId: string;
  /** Where that message came from. */
  source: Source | null;
  /** What it does, for a person. */
  words: string;
}

/** `argus/input/ended` to every client of the session: params are the ended input. */
export const INPUT_ENDED = "argus/input/ended";
