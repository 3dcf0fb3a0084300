import { HEARTBEAT_OK } from "#protocol/prompt-text.ts";
import type { TurnEnd } from "./turns.ts";

// What people are told about turns. Pure.

/** With the token an answer up to this many characters says nothing to a person. */
const QUIET_CHARACTERS = 300;

export const quietText = "_(The agent ended its turn without an answer.)_";

/** A failed turn in words for its sender. */
export function failureWords(outcome: TurnEnd["outcome"], reason: string): string {
  if (outcome === "interrupted") return `⏹ Stopped: ${reason}`;
  if (outcome === "unknown") {
    return `⚠️ I cannot tell whether this was done: ${reason} Look at what it may have changed before you try again.`;
  }
  return `⚠️ This failed: ${reason} You can try again.`;
}

/** Whether a background turn's words are only the token, maybe in Markdown or with a little chatter around it. Pure. */
export function isAllQuiet(text: string): boolean {
  const plain = text.trim().replace(/^[*_`~\s]+|[*_`~\s]+$/g, "");
  if (plain === "") return true;
  const isAtEdge = plain.startsWith(HEARTBEAT_OK) || plain.endsWith(HEARTBEAT_OK);
  return isAtEdge && plain.replaceAll(HEARTBEAT_OK, "").trim().length <= QUIET_CHARACTERS;
}
