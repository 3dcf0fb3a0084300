/** Files that one answer may send; what is over it is named in words. */
export const MAX_FILES = 5;

const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const LINE = /^\s*(?:[-*+]\s+)?MEDIA:\s*(.+?)\s*$/;

/** An answer's text, and the files that it names. */
export interface Media {
  text: string;
  /** As the agent wrote them; each once. */
  files: string[];
}

/**
 * Takes the lines `MEDIA: path` out of the text; not inside of code blocks. `MEDIA: https://…` is left as the address. A pure function of the
 * text: an answer that was begun goes on with the same files.
 */
export function withoutMedia(markdown: string): Media {
  const named: string[] = [];
  const kept: string[] = [];
  for (const { line, path } of linesOf(markdown)) {
    if (path === undefined) kept.push(line);
    else if (/^https?:\/\//i.test(path)) kept.push(path);
    else named.push(path);
  }
  const files = [...new Set(named)];
  if (files.length === 0) return { text: markdown, files };
  const text = `${kept.join("\n").trim()}${overWords(files.slice(MAX_FILES))}`.trim();
  // The first message is text: it may take the status message's place.
  const shown = text || files.map((path) => `📎 ${code(path)}`).join("\n");
  return { text: shown, files: files.slice(0, MAX_FILES) };
}

function overWords(files: readonly string[]): string {
  return files.length > 0 ? `\n\nNot sent, too many at once: ${files.map(code).join(", ")}` : "";
}

/** Each line, with the path that it names outside of code. */
function* linesOf(markdown: string): Generator<{ line: string; path: string | undefined }> {
  let fence = "";
  for (const line of markdown.split("\n")) {
    const [, mark = ""] = FENCE.exec(line) ?? [];
    if (fence === "") fence = mark;
    else if (mark.startsWith(fence) && line.trim() === mark) fence = "";
    const [, written = ""] = (fence === "" && mark === "" && LINE.exec(line)) || [];
    yield { line, path: unquoted(written) || undefined };
  }
}

function unquoted(text: string): string {
  const [, , inner] = /^(["'`])(.*)\1$/.exec(text) ?? [];
  return (inner ?? text).trim();
}

const code = (path: string) => `\`${path.replaceAll("`", "'")}\``;
