import { type Kind, type Mark, overlapping } from "./styled.ts";

/** Names of the tags around a mark's text, the outermost first. */
function tags(mark: Mark): string[] {
  if (mark.kind === "link") return [`a href="${escapeAttribute(mark.href ?? "")}"`];
  if (mark.kind !== "pre") return [TAGS[mark.kind]];
  const { language } = mark;
  return language ? ["pre", `code class="language-${escapeAttribute(language)}"`] : ["pre"];
}

const TAGS: Record<Exclude<Kind, "link" | "pre">, string> = {
  bold: "b",
  italic: "i",
  underline: "u",
  strike: "s",
  spoiler: "tg-spoiler",
  code: "code",
  quote: "blockquote",
  "long-quote": "blockquote expandable",
};

const opening = (mark: Mark) =>
  tags(mark)
    .map((tag) => `<${tag}>`)
    .join("");

const closing = (mark: Mark) =>
  tags(mark)
    .map((tag) => `</${tag.split(" ")[0]}>`)
    .reverse()
    .join("");

export function escapeHtml(text: string): string {
  return text.replace(/[&<>]/g, (char) => ESCAPES[char] ?? char);
}

function escapeAttribute(text: string): string {
  return text.replace(/[&<>"]/g, (char) => ESCAPES[char] ?? char);
}

const ESCAPES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/** Telegram HTML of `text[from, to)`, of the marks what lies in it. */
export function toHtml(text: string, marks: readonly Mark[], from: number, to: number): string {
  const inside = overlapping(marks, from, to)
    .map((mark) => ({ ...mark, from: Math.max(mark.from, from), to: Math.min(mark.to, to) }))
    .sort((a, b) => a.from - b.from || b.to - a.to);
  let html = "";
  let at = from;
  const open: Mark[] = [];
  const closeUpTo = (offset: number) => {
    for (let mark = open.at(-1); mark && mark.to <= offset; mark = open.at(-1)) {
      html += escapeHtml(text.slice(at, mark.to)) + closing(mark);
      at = mark.to;
      open.pop();
    }
  };
  for (const mark of inside) {
    closeUpTo(mark.from);
    html += escapeHtml(text.slice(at, mark.from)) + opening(mark);
    at = mark.from;
    open.push(mark);
  }
  closeUpTo(to);
  return html + escapeHtml(text.slice(at, to));
}
