import type { Files } from "./files.ts";
import type { Limits } from "./limits.ts";
import type { Params } from "./params.ts";
import type { Updates } from "./updates.ts";
import type { World } from "./world.ts";

/** A question from a button that the bot has not answered yet. */
export interface OpenQuery {
  atMs: number;
  answer: (params: Record<string, unknown>) => void;
}

/** What the methods work on. */
export interface Telegram {
  world: World;
  updates: Updates;
  files: Files;
  limits: Limits;
  queries: Map<string, OpenQuery>;
  /** Commands by scope and language. */
  commands: Map<string, { command: string; description: string }[]>;
}

export interface Call {
  telegram: Telegram;
  params: Params;
  /** Ends when the client leaves. */
  signal: AbortSignal;
}

export type Method = (call: Call) => unknown;
