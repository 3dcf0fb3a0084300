/** The first line of every turn that the gateway assembles. */
const START = "# Project Context";
const SECTIONS = ["\n\nInstructions:", "\n\nSystem events (batched):"];

/**
 * A person's own words in the text of a turn, or what stands for them in a background turn: what the sections of the
 * gateway leave over. Text that the gateway did not assemble comes back as it is.
 */
export function ownWords(text: string): string {
  let rest = text.trim();
  if (!rest.startsWith(START)) return text;
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
  if (!text.startsWith(START)) return [];
  const end = text.lastIndexOf("\n\nInstructions:");
  const body = end < 0 ? text : text.slice(0, end);
  const at = body.lastIndexOf("\n\nSystem events (batched):");
  const section =
    at < 0 ? "" : body.slice(at).replace(/\n\nHeartbeat response contract:[\s\S]*$/, "");
  return section.split("\n").filter((line) => line.startsWith("["));
}

/** Whether a background turn's words are in place of a person's. */
export const isBackground = (words: string): boolean => words.startsWith("HEARTBEAT:");
