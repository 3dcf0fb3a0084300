const TAB = 0x09;
const NEWLINE = 0x0a;

/** Marks that make a terminal show text in another order than it stands. */
const isBidi = (code: number) =>
  (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);

const isControl = (code: number) =>
  code < 0x20 || code === 0x7f || (code >= 0x80 && code <= 0x9f) || isBidi(code);

/**
 * Text of an agent as a terminal may show it: newline and tab stay, a carriage return before a newline goes,
 * every other control character becomes visible and harmless (ESC is shown as `␛`).
 */
export function printable(text: string): string {
  let clean = "";
  for (const character of text.replaceAll("\r\n", "\n")) {
    const code = character.codePointAt(0) ?? 0;
    clean += code === TAB || code === NEWLINE || !isControl(code) ? character : symbol(code);
  }
  return clean;
}

/** The same on one line, cut to `max` characters. */
export function printableLine(text: string, max = 200): string {
  const line = printable(text).replace(/\s+/g, " ").trim();
  return line.length <= max ? line : `${line.slice(0, max - 1)}…`;
}

/** U+2400 and on are the pictures of C0. */
function symbol(code: number): string {
  if (code < 0x20) return String.fromCodePoint(0x2400 + code);
  return code === 0x7f ? "\u2421" : "\ufffd";
}
