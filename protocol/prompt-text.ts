/** Where the parts of a turn's text begin; the seed's web page cuts at them too, so they are a contract. */
export const PROMPT_MARK = {
  start: "# Project Context",
  events: "System events (batched):",
  instructions: "Instructions:",
  /** In place of a person's words. */
  background: "HEARTBEAT:",
  contract: "Heartbeat response contract:",
} as const;
const SECTIONS = [`\n\n${PROMPT_MARK.instructions}`, `\n\n${PROMPT_MARK.events}`] as const;

/** A background turn's answer that nothing needs a person. */
export const HEARTBEAT_OK = "HEARTBEAT_OK";

/**
 * A person's own words in the text of a turn, or what stands for them in a background turn: what the sections of the
 * gateway leave over. Text that the gateway did not assemble comes back as it is.
 */
export function ownWords(text: string): string {
  let rest = text.trim();
  if (!rest.startsWith(PROMPT_MARK.start)) return text;
  for (const mark of SECTIONS) {
    const at = rest.lastIndexOf(mark);
    if (at >= 0) rest = rest.slice(0, at);
  }
  const lines = rest.split("\n");
  const last = lines.findLastIndex((line) => /^\[\/[A-Za-z0-9_.-]+\]\s*$/.test(line));
  const words = lines.slice(last + 1).join("\n");
  return words.replaceAll("\u200b", "").trim();
}

/** The events that the text of a turn tells, a line each; empty when there are none. */
export function eventLines(text: string): string[] {
  if (!text.startsWith(PROMPT_MARK.start)) return [];
  const [instructions, events] = SECTIONS;
  const end = text.lastIndexOf(instructions);
  const body = end < 0 ? text : text.slice(0, end);
  const at = body.lastIndexOf(events);
  const [section = ""] = at < 0 ? [] : body.slice(at).split(`\n\n${PROMPT_MARK.contract}`);
  return section.split("\n").filter((line) => line.startsWith("["));
}

/** Whether a background turn's words are in place of a person's. */
export const isBackground = (words: string): boolean => words.startsWith(PROMPT_MARK.background);
