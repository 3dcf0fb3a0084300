import type { Token } from "markdown-it";
import { isInvisible } from "./clean.ts";
import { target } from "./links.ts";
import type { Style, Writer } from "./styled.ts";

const STYLE_OF: Record<string, Style> = { strong: "bold", em: "italic", s: "strike" };

/** Between double bars, on one line, without spaces at the edges, as Telegram's own Markdown has it. */
const SPOILER = /\|\|(?=[^\s|])([^|\n]*[^\s|])\|\|/g;

/** Writes what stands inside of a paragraph, a heading or a table's cell. */
export function writeInline(tokens: readonly Token[], writer: Writer): void {
  const links: LinkState[] = [];
  for (const token of tokens) {
    const style = STYLE_OF[token.tag];
    if (token.type === "text") writeText(token.content, writer, links);
    else if (token.type === "code_inline") writeCode(token.content, writer, links);
    else if (token.type === "softbreak" || token.type === "hardbreak") writer.write("\n");
    else if (token.type === "link_open") openLink(token, writer, links);
    else if (token.type === "link_close") closeLink(writer, links);
    else if (token.type === "image") writeImage(token, writer, links);
    else if (style && token.nesting === 1) writer.open(style);
    else if (style) writer.close();
    else writeText(token.content, writer, links);
  }
}

/** Text of a token's attribute, empty when it has none. */
export function attribute(token: Token, name: string): string {
  return String(token.attrGet(name) ?? "");
}

interface LinkState {
  shown: string;
  linked: boolean;
  label: string;
}

function writeText(text: string, writer: Writer, links: LinkState[]): void {
  for (const link of links) link.label += text;
  let from = 0;
  for (const found of text.matchAll(SPOILER)) {
    writer.write(text.slice(from, found.index));
    writer.open("spoiler");
    writer.write(found[1] ?? "");
    writer.close();
    from = found.index + found[0].length;
  }
  writer.write(text.slice(from));
}

function writeCode(code: string, writer: Writer, links: LinkState[]): void {
  for (const link of links) link.label += code;
  writer.open("code");
  writer.write(code);
  writer.close();
}

function openLink(token: Token, writer: Writer, links: LinkState[]): void {
  const { href, shown } = target(attribute(token, "href"));
  if (href) writer.open("link", { href });
  links.push({ shown, linked: Boolean(href), label: "" });
}

/** A link that Telegram would not make shows its target, and one without a visible label too. */
function closeLink(writer: Writer, links: LinkState[]): void {
  const link = links.pop();
  if (!link) return;
  const bare = isInvisible(link.label);
  if (link.linked && bare) writer.write(link.shown);
  if (link.linked) writer.close();
  else if (bare) writer.write(link.shown);
  else if (link.shown && link.label.trim() !== link.shown) writer.write(` (${link.shown})`);
}

function writeImage(token: Token, writer: Writer, links: LinkState[]): void {
  const { href, shown } = target(attribute(token, "src"));
  const label = `🖼 ${isInvisible(token.content) ? shown : token.content}`;
  for (const link of links) link.label += label;
  if (href) writer.open("link", { href });
  writer.write(label);
  if (href) writer.close();
  else if (shown && !label.includes(shown)) writer.write(` (${shown})`);
}
