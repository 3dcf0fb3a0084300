import { eventLines, HEARTBEAT_OK, isBackground, ownWords } from "#protocol/prompt-text.ts";
import type { InputPart } from "./shapes.ts";

/** What the echo does with one message. */
export type Act =
  | { kind: "say"; words: string[]; pauseMs: number }
  | { kind: "approve"; command: string }
  | { kind: "fail"; message: string };

export const LABEL = "(This is Argus's built-in echo; no model is asked.) ";

const HELP = `I repeat what you write, so that you can try Argus without a model. I also know
/approve [command]  asks you before it would run the command; nothing is really run
/slow [seconds]     answers slowly (10 s): interrupt it, or write while it runs
/fail [reason]      lets the turn fail
/help               this text`;

const SLOW_PAUSE_MS = 200;
const DEFAULT_SLOW_SECONDS = 10;
const MAX_SLOW_SECONDS = 600;
const DEFAULT_COMMAND = "touch approved.txt";

/** Text of a message; parts that are not text are named in brackets. */
export function textOf(input: readonly InputPart[]): string {
  return input
    .map(({ type, text }) => (type === "text" ? (text ?? "") : `[${type}]`))
    .join("\n")
    .trim();
}

/**
 * Decides by the person's words: `/approve ls`, `/slow 3`, `/fail`, `/help`; anything else is repeated. In a background turn
 * the events are repeated, and without any nothing needs the person.
 */
export function decide(prompt: string): Act {
  const text = ownWords(prompt);
  if (isBackground(text)) return background(eventLines(prompt));
  const [, verb = "", rest = ""] = /^\/(\w+)(?:\s+(.*))?$/s.exec(text) ?? [];
  return COMMANDS[verb.toLowerCase()]?.(rest) ?? say(`echo: ${text}`);
}

const COMMANDS: Record<string, ((rest: string) => Act) | undefined> = {
  approve: (rest) => ({ kind: "approve", command: rest.trim() || DEFAULT_COMMAND }),
  slow,
  fail: (rest) => ({ kind: "fail", message: rest.trim() || "you asked for a failure" }),
  help: () => say(HELP),
};

function background(events: readonly string[]): Act {
  return say(events.length === 0 ? HEARTBEAT_OK : `echo: ${events.join("\n")}`);
}

export function say(text: string): Act & { kind: "say" } {
  return { kind: "say", words: splitWords(text), pauseMs: 0 };
}

function slow(rest: string): Act {
  const wanted = Number.parseFloat(rest);
  const seconds = wanted > 0 ? Math.min(wanted, MAX_SLOW_SECONDS) : DEFAULT_SLOW_SECONDS;
  const count = Math.max(1, Math.round((seconds * 1000) / SLOW_PAUSE_MS));
  const words = Array.from({ length: count }, (_, index) => `${index + 1} `);
  return { kind: "say", words: ["echo: ", "slowly ", ...words], pauseMs: SLOW_PAUSE_MS };
}

/** Words, each with the space behind it; together they are the text. */
export const splitWords = (text: string): string[] => text.match(/\s*\S+\s*/gu) ?? [text];
