import { eventLines, isBackground, ownWords } from "#protocol/prompt-text.ts";

/** An input item of a Responses request, as far as the fake looks. */
export interface InputItem {
  type?: string;
  role?: string;
  content?: unknown;
  output?: unknown;
  tools?: unknown;
}

export interface ModelRequest {
  model?: string;
  input?: string | InputItem[];
  tools?: { name?: string }[];
}

/** What the person said last, and what tools answered since. */
export interface Said {
  words: string;
  /** Everything of the message that holds those words: events and instructions too. */
  prompt: string;
  /** Text of the tool outputs after those words, oldest first. */
  outputs: string[];
  /** The request offers tools as Codex does for models that it knows. */
  codeMode: boolean;
}

// Codex adds such messages itself: environment, aborted turns, instructions of the workspace.
const ADDED_BY_CODEX = /^(<|# AGENTS\.md)/;

/** Text of `content` or `output`: a string or an array of parts with `text`. */
export function textOf(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content
    .map((part: { text?: unknown }) => (typeof part.text === "string" ? part.text : ""))
    .join("");
}

function isPersons(item: InputItem): boolean {
  const message = (item.type ?? "message") === "message" && item.role === "user";
  return message && !ADDED_BY_CODEX.test(textOf(item.content));
}

/** A person's words; in a background turn the text of its first event, or what HEARTBEAT.md wants to be told. */
function wordsOf(text: string): string {
  const words = ownWords(text).trim();
  if (!isBackground(words)) return words;
  const [event] = eventLines(text);
  if (event !== undefined) return event.replace(/^\[[^\]]*\] /, "");
  return /^tell: (.+)$/m.exec(text)?.[1] ?? "HEARTBEAT_OK";
}

/** Finds the person's last words in a request; "" when there are none. */
export function readRequest({ input, tools }: ModelRequest): Said {
  const items = typeof input === "string" ? [{ role: "user", content: input }] : (input ?? []);
  const last = items.findLastIndex(isPersons);
  const prompt = last < 0 ? "" : textOf(items[last]?.content);
  const after = last < 0 ? [] : items.slice(last + 1);
  const outputs = after.filter((item) => item.type?.endsWith("_output"));
  return {
    words: wordsOf(prompt),
    prompt,
    outputs: outputs.map((item) => textOf(item.output)),
    codeMode: !tools?.length && items.some((item) => item.type === "additional_tools"),
  };
}
