import type { OpenTurn } from "#protocol/lane-entry.ts";
import type { SessionDocument } from "#protocol/session-document.ts";

/** What the agent is told in the turn. Pure. */
export function turnText({ inputs, events }: SessionDocument, turn: OpenTurn): string {
  const message = inputs.find(({ id }) => id === turn.inputId)?.text ?? "";
  const told = events.filter(({ id }) => turn.eventIds.includes(id)).map(({ text }) => text);
  return [message, ...told].filter((part) => part !== "").join("\n\n");
}
