import { printableLine } from "./chat/printable.ts";

/** Columns aligned with three spaces between them, as kubectl prints them. */
export function table(header: string[], rows: string[][]): string {
  const all = [header, ...rows.map((row) => row.map((cell) => printableLine(cell, 120)))];
  const widths = header.map((_, column) =>
    Math.max(...all.map((row) => (row[column] ?? "").length)),
  );
  const line = (row: string[]) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("   ")
      .trimEnd();
  return `${all.map(line).join("\n")}\n`;
}

/** Facts of one thing, a line each; those without a value are left out. */
export function facts(lines: readonly (readonly [string, string])[]): string {
  const known = lines.filter(([, value]) => value !== "");
  const width = Math.max(0, ...known.map(([name]) => name.length));
  return known
    .map(([name, value]) => `${name.padEnd(width)}   ${printableLine(value, 2000)}`)
    .join("\n");
}

const UNITS: [seconds: number, letter: string][] = [
  [86_400, "d"],
  [3_600, "h"],
  [60, "m"],
  [1, "s"],
];

/** `3d`, `5h`, `12m`, `8s`; `-` when it is not known. */
export function age(since: string | undefined, now: Date): string {
  const seconds = since ? Math.floor((now.getTime() - Date.parse(since)) / 1000) : Number.NaN;
  if (Number.isNaN(seconds)) return "-";
  const [unit, letter] = UNITS.find(([size]) => seconds >= size * 2) ?? [1, "s"];
  return `${Math.max(0, Math.floor(seconds / unit))}${letter}`;
}
