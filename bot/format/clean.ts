/**
 * Characters as Telegram will show them, decided here instead of there: it replaces controls by spaces, deletes bidirectional
 * overrides and overdrawing marks, and refuses halves of surrogate pairs.
 */
export function clean(text: string): string {
  return text
    .toWellFormed()
    .replace(/\r\n?|[\u2028\u2029\u0085]/g, "\n")
    .replace(/\p{L}\u030a/gu, (letter) => letter.normalize("NFC"))
    .replace(REMOVED, "")
    .replace(CONTROLS, " ");
}

/** A ring that has no composed letter, double lines, overrides of the direction, all but the last direction mark in a row. */
const REMOVED = /\u030a|\u0333|\u033f|[\u202a-\u202e]|[\u200e\u200f](?=[\u200e\u200f])/g;
const CONTROLS = /(?!\n)\p{Cc}/gu;

const TAB_STOP = 4;

/** Tabs as spaces up to the next stop: Telegram makes one space of each. */
export function expandTabs(code: string): string {
  if (!code.includes("\t")) return code;
  return code
    .split("\n")
    .map((line) => {
      let column = 0;
      return line.replace(/[^\t]+|\t/g, (piece) => {
        const shown = piece === "\t" ? " ".repeat(TAB_STOP - (column % TAB_STOP)) : piece;
        column += shown.length;
        return shown;
      });
    })
    .join("\n");
}

/** Telegram refuses a message of which nothing can be seen. */
export function isInvisible(text: string): boolean {
  return !/[^\s\p{Cf}\p{Default_Ignorable_Code_Point}\u2800]/u.test(text);
}
