import type { Token } from "markdown-it";
import { expandTabs } from "./clean.ts";
import { writeInline } from "./inline.ts";
import { type Styled, Writer } from "./styled.ts";
import { writeTable } from "./table.ts";

/** A quote above one of these can be folded by its reader. */
const FOLD_CHARS = 600;
const FOLD_LINES = 8;

const BULLETS = ["• ", "◦ ", "▪ "];
const RULE = "———";

interface List {
  /** Number of the next item; undefined = bullets. */
  next: number | undefined;
}

/** Turns block tokens of the parser into a styled text. */
export class BlockWriter {
  readonly #writer = new Writer();
  readonly #lists: List[] = [];
  /** The next paragraph stands behind its item's marker. */
  #behindMarker = false;
  #quotes = 0;
  #heading = 0;
  readonly #actions: Record<string, (token: Token, tokens: readonly Token[], at: number) => void> =
    {
      inline: (token) => writeInline(token.children ?? [], this.#writer),
      paragraph_open: (token) => this.#paragraph(token.hidden),
      heading_open: (token) => this.#openHeading(token.tag),
      heading_close: () => this.#closeHeading(),
      bullet_list_open: (token) => this.#openList(token),
      bullet_list_close: () => this.#closeList(),
      ordered_list_open: (token) => this.#openList(token),
      ordered_list_close: () => this.#closeList(),
      list_item_open: (_, tokens, at) => this.#openItem(tokens, at),
      list_item_close: () => this.#closeItem(),
      blockquote_open: () => this.#openQuote(),
      blockquote_close: () => this.#closeQuote(),
      fence: (token) => this.#code(token),
      code_block: (token) => this.#code(token),
      hr: () => this.#rule(),
    };

  write(tokens: readonly Token[], lines: readonly string[]): Styled {
    for (let at = 0; at < tokens.length; at++) {
      const token = tokens[at];
      if (!token) break;
      if (token.type === "table_open") at = this.#table(tokens, at, lines);
      else this.#actions[token.type]?.(token, tokens, at);
    }
    return this.#writer.done();
  }

  #begin(newlines: number): void {
    if (!this.#behindMarker) this.#writer.separate(newlines);
    this.#behindMarker = false;
  }

  #paragraph(tight: boolean): void {
    if (tight && !this.#behindMarker) this.#writer.breakLine();
    else this.#begin(2);
  }

  #openHeading(tag: string): void {
    this.#begin(2);
    this.#heading = tag === "h1" ? 2 : 1;
    this.#writer.open("bold");
    if (tag === "h1") this.#writer.open("underline");
  }

  #closeHeading(): void {
    for (; this.#heading > 0; this.#heading--) this.#writer.close();
    this.#writer.separate(2);
    this.#writer.glueNext();
  }

  #openList(token: Token): void {
    if (this.#lists.length === 0) this.#begin(2);
    const start = Number(token.attrGet("start") ?? 1);
    this.#lists.push({ next: token.type === "ordered_list_open" ? start : undefined });
  }

  #closeList(): void {
    this.#lists.pop();
    if (this.#lists.length === 0) this.#writer.separate(2);
  }

  #openItem(tokens: readonly Token[], at: number): void {
    this.#writer.breakLine();
    const list = this.#lists.at(-1);
    const bullet = BULLETS[Math.min(this.#lists.length, BULLETS.length) - 1] ?? "";
    const number = list?.next === undefined ? "" : `${list.next++}. `;
    const marker = number + (takeTask(tokens, at) ?? (number ? "" : bullet));
    this.#writer.write(marker);
    this.#writer.indent(" ".repeat(marker.length));
    this.#behindMarker = true;
  }

  #closeItem(): void {
    this.#writer.outdent();
    this.#behindMarker = false;
    this.#writer.breakLine();
  }

  /** A quote in a quote cannot be one in Telegram; its lines begin with `>`. */
  #openQuote(): void {
    this.#begin(this.#quotes > 0 ? 2 : 1);
    if (this.#quotes++ > 0) {
      this.#writer.write("> ");
      this.#writer.indent("> ");
      this.#behindMarker = true;
    } else this.#writer.open("quote");
  }

  #closeQuote(): void {
    this.#behindMarker = false;
    if (--this.#quotes > 0) this.#writer.outdent();
    else {
      this.#writer.reconsider("quote", (text) =>
        text.length > FOLD_CHARS || text.split("\n").length > FOLD_LINES ? "long-quote" : "quote",
      );
      this.#writer.close();
    }
    this.#writer.separate(this.#quotes > 0 ? 2 : 1);
  }

  #code(token: Token): void {
    this.#behindMarker = false;
    this.#writer.separate(1);
    const language = /^[\w+#.-]{1,32}/.exec(token.info.trim())?.[0];
    this.#writer.open("pre", language ? { language } : {});
    this.#writer.writeLines(expandTabs(token.content.replace(/\n$/, "")));
    this.#writer.close();
    this.#writer.separate(1);
  }

  #rule(): void {
    this.#begin(2);
    this.#writer.write(RULE);
    this.#writer.separate(2);
  }

  /** Index of the table's last token. */
  #table(tokens: readonly Token[], at: number, lines: readonly string[]): number {
    let end = at;
    while (end < tokens.length && tokens[end]?.type !== "table_close") end++;
    const table = tokens.slice(at, end);
    this.#behindMarker = false;
    this.#writer.separate(1);
    if (losesCells(table, lines)) this.#source(table, lines);
    else writeTable(table, this.#writer);
    this.#writer.separate(1);
    return end;
  }

  #source(table: readonly Token[], lines: readonly string[]): void {
    const [from, to] = table[0]?.map ?? [0, 0];
    this.#writer.open("pre");
    this.#writer.writeLines(lines.slice(from, to).join("\n").trimEnd());
    this.#writer.close();
  }
}

/** Takes `[ ] ` or `[x] ` away from the item's first text, and gives the box for it. */
function takeTask(tokens: readonly Token[], at: number): string | undefined {
  const [paragraph, inline] = [tokens[at + 1], tokens[at + 2]];
  const first = inline?.children?.[0];
  if (paragraph?.type !== "paragraph_open" || first?.type !== "text") return undefined;
  const found = /^\[([ xX])\][ \t]+/.exec(first.content);
  if (!found) return undefined;
  first.content = first.content.slice(found[0].length);
  return found[1] === " " ? "☐ " : "☑ ";
}

/** Markdown ignores cells beyond the header's; they would be lost. */
function losesCells(table: readonly Token[], lines: readonly string[]): boolean {
  const columns = table.filter(({ type }) => type === "th_open").length;
  return table
    .filter(({ type }) => type === "tr_open")
    .some(({ map }) => {
      const source = (lines[map?.[0] ?? -1] ?? "").trim().replace(/^[>\s]*\|?|\|$/g, "");
      return (source.match(/(?<!\\)\|/g) ?? []).length >= columns;
    });
}
