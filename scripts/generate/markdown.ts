/** A Markdown table; `|` in a cell is escaped, line breaks become spaces. */
export function markdownTable(header: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.map(cell).join(" | ")} |`;
  return [line(header), line(header.map(() => "---")), ...rows.map(line)].join("\n");
}

const cell = (text: string) => text.replace(/\s+/g, " ").replaceAll("|", "\\|");

export const code = (text: string) => (text === "" ? "" : `\`${text}\``);
