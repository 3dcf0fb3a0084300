import type { Token } from "markdown-it";
import { attribute, writeInline } from "./inline.ts";
import { type Styled, Writer } from "./styled.ts";
import { displayWidth } from "./width.ts";

/** A wider table cannot be read even on a large screen; its rows become lists. */
const MAX_COLUMNS = 64;

interface Cell {
  content: Styled;
  tokens: readonly Token[];
  align: "left" | "right" | "center";
}

type Row = Cell[];

/** Writes the table whose tokens these are: aligned in fixed width, or as lists when that cannot hold it. */
export function writeTable(tokens: readonly Token[], writer: Writer): void {
  const rows = rowsOf(tokens);
  const linked = rows.some((row) => row.some(({ content }) => content.marks.some(isLink)));
  const lines = aligned(rows);
  const wide = lines.some((line) => displayWidth(line) > MAX_COLUMNS);
  if (rows.length > 1 && (linked || wide)) return writeAsLists(rows, writer);
  writer.open("pre");
  writer.writeLines(lines.join("\n"));
  writer.close();
}

const isLink = ({ kind }: { kind: string }) => kind === "link";

function rowsOf(tokens: readonly Token[]): Row[] {
  const rows: Row[] = [];
  let align: Cell["align"] = "left";
  for (const token of tokens) {
    if (token.type === "tr_open") rows.push([]);
    if (token.type === "th_open" || token.type === "td_open") align = alignment(token);
    if (token.type === "inline") {
      const cell = new Writer();
      writeInline(token.children ?? [], cell);
      rows.at(-1)?.push({ content: cell.done(), tokens: token.children ?? [], align });
    }
  }
  return rows;
}

function alignment(token: Token): Cell["align"] {
  const style = attribute(token, "style");
  if (style.endsWith("right")) return "right";
  return style.endsWith("center") ? "center" : "left";
}

function aligned(rows: Row[]): string[] {
  const texts = rows.map((row) => row.map(({ content }) => content.text.replaceAll("\n", " ")));
  const columns = rows[0]?.length ?? 0;
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...texts.map((row) => displayWidth(row[column] ?? ""))),
  );
  const lines = texts.map((row, at) =>
    widths
      .map((width, column) => padded(row[column] ?? "", width, rows[at]?.[column]?.align))
      .join(" | ")
      .trimEnd(),
  );
  const rule = widths.map((width) => "-".repeat(width)).join("-|-");
  return lines.length > 1 ? [lines[0] ?? "", rule, ...lines.slice(1)] : lines;
}

function padded(text: string, width: number, align: Cell["align"] = "left"): string {
  const missing = width - displayWidth(text);
  const left = align === "right" ? missing : align === "center" ? Math.floor(missing / 2) : 0;
  return " ".repeat(left) + text + " ".repeat(missing - left);
}

/** One list item for each row, each cell behind the name of its column. */
function writeAsLists(rows: Row[], writer: Writer): void {
  const [header = [], ...body] = rows;
  for (const row of body) {
    for (const [column, cell] of row.entries()) {
      writer.breakLine();
      writer.write(column === 0 ? "• " : "  ");
      writeName(header[column], writer);
      writeInline(cell.tokens, writer);
    }
  }
}

function writeName(cell: Cell | undefined, writer: Writer): void {
  if (!cell?.content.text) return;
  writer.open("bold");
  writeInline(cell.tokens, writer);
  writer.write(":");
  writer.close();
  writer.write(" ");
}
