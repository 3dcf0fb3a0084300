import MarkdownIt from "markdown-it";

/** How far a name or path around a delimiter is looked at. */
const MAX_WORD = 64;

interface Delimiters {
  can_open: boolean;
  can_close: boolean;
  length: number;
}

/**
 * Where `*`, `_` and `~` may begin or end emphasis: as CommonMark says, but names and paths keep their characters
 * (`__init__`, `2*3*4`, `*.ts`, a path with `**` between slashes), and between Chinese, Japanese or Korean letters a
 * quotation mark does not stand in the way.
 */
export class NameAwareState extends MarkdownIt.StateInline {
  override scanDelims(start: number, canSplitWord: boolean): Delimiters {
    const found = super.scanDelims(start, canSplitWord);
    const before = this.src.slice(Math.max(0, start - MAX_WORD), start);
    const end = start + found.length;
    const after = this.src.slice(end, Math.min(this.posMax, end + MAX_WORD));
    return flanking(before, this.src.slice(start, end), after, found);
  }
}

function flanking(before: string, run: string, after: string, found: Delimiters): Delimiters {
  const { length } = found;
  if (run.startsWith("_")) {
    return isDunder(before, run, after) ? { can_open: false, can_close: false, length } : found;
  }
  if (isPartOfPath(before, run, after)) return { can_open: false, can_close: false, length };
  const dangling = /[/\\]$/.test(before) && !/^[\w\u0080-\uffff]/.test(after);
  return {
    can_open: !dangling && (found.can_open || (IDEOGRAPH_END.test(before) && OPENING.test(after))),
    can_close: found.can_close || (CLOSING.test(before) && IDEOGRAPH_START.test(after)),
    length,
  };
}

const IDEOGRAPH = "[\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Hangul}]";
const IDEOGRAPH_END = new RegExp(`${IDEOGRAPH}$`, "u");
const IDEOGRAPH_START = new RegExp(`^${IDEOGRAPH}`, "u");
const OPENING = /^[\p{Ps}\p{Pi}"'`]/u;
const CLOSING = /[\p{P}\p{S}]$/u;

/** `__name__`: one word between double underlines. */
function isDunder(before: string, run: string, after: string): boolean {
  const word = `${/\w*$/.exec(before)?.[0] ?? ""}${run}${/^\w*/.exec(after)?.[0] ?? ""}`;
  return run.length === 2 && /^__[A-Za-z0-9]\w*__$/.test(word);
}

/** Whether the stars between `before` and `after` are an operator or stand for names in a path. */
function isPartOfPath(before: string, run: string, after: string): boolean {
  if (!run.startsWith("*")) return false;
  const [last, next] = [before.at(-1) ?? " ", after[0] ?? " "];
  if (isWord(last)) return isWord(next) && (run.length === 1 || /\d/.test(last + next));
  if (isSlash(last) && (isSlash(next) || next === ".")) return true;
  return (run.length === 1 && isSuffix(before, after)) || /^[/\\](?:\S*[/\\])?\*/.test(after);
}

const isWord = (char: string) => /\w/.test(char);
const isSlash = (char: string) => char === "/" || char === "\\";
/** `*.ts`, `*.*` */
const isSuffix = (before: string, after: string) => /^\.[\w*]/.test(after) || before.endsWith("*.");
