import { toHtml } from "./html.ts";
import { type Mark, overlapping, type Styled } from "./styled.ts";
import { graphemeBoundaries } from "./width.ts";

/** What one message may hold. */
export interface Limits {
  /** UTF-16 units of visible text. */
  units: number;
  /** Bytes of HTML. */
  bytes: number;
  /** Marks; Telegram silently drops further ones. */
  marks: number;
  /** Share of a message that is filled at least, wherever it would end best; absent = as the place deserves. */
  leastFill?: number;
}

export interface Span {
  from: number;
  to: number;
}

/** How full a message must be before it may end at such a place, the best kind of place first. */
const LEAST_FILL = { block: 0.4, topLine: 0.5, line: 0.5, sentence: 0.6, word: 0.3 };

/**
 * The next message's stretch of the text from `from` on; undefined = only white space is left. It depends on nothing but
 * its arguments, so the rest of a text can be planned again from any stretch's end.
 */
export function nextSpan(styled: Styled, from: number, limits: Limits): Span | undefined {
  const start = skipEdge(styled, from);
  if (start >= styled.text.length) return undefined;
  const most = Math.min(styled.text.length, start + limits.units);
  const near = { ...styled, marks: overlapping(styled.marks, start, most) };
  const end = furthest(near, start, most, limits);
  const to = end >= styled.text.length ? end : bestCut(near, start, end, limits.leastFill);
  return { from: start, to };
}

/** A new message begins with text; but where code goes on, only the line's end is skipped, its indentation stays. */
function skipEdge({ text, marks }: Styled, from: number): number {
  const inCode = overlapping(marks, from, from + 1).some(
    (mark) => mark.kind === "pre" && mark.from < from,
  );
  const pattern = inCode ? /\n?/y : /[ \n]*/y;
  pattern.lastIndex = from;
  return from + (pattern.exec(text)?.[0].length ?? 0);
}

/** How far a message may reach without breaking a limit or a character. */
function furthest({ text, marks }: Styled, start: number, most: number, limits: Limits): number {
  const fits = (end: number) =>
    overlapping(marks, start, end).length <= limits.marks &&
    Buffer.byteLength(toHtml(text, marks, start, end)) <= limits.bytes;
  let end = most;
  if (!fits(most)) {
    let low = start + 1;
    while (low < end) {
      const middle = (low + end + 1) >> 1;
      if (fits(middle)) low = middle;
      else end = middle - 1;
    }
  }
  return wholeCharacters(text, start, end);
}

/** The last boundary between characters up to `end`; of one that fits in no message, the last between code points. */
function wholeCharacters(text: string, start: number, end: number): number {
  if (end >= text.length) return end;
  const slice = text.slice(start, end + 1024);
  const isBoundary = graphemeBoundaries(slice);
  for (let at = end - start; at > 0; at--) if (isBoundary(at)) return start + at;
  return isLowSurrogate(text, end) && end - start > 1 ? end - 1 : end;
}

function isLowSurrogate(text: string, at: number): boolean {
  const unit = text.charCodeAt(at);
  return unit >= 0xdc00 && unit <= 0xdfff;
}

/** The best place to end a message that begins at `start` and may reach `end`. */
function bestCut(styled: Styled, start: number, end: number, leastFill?: number): number {
  const length = end - start;
  const window = styled.text.slice(start, end + 1);
  const least = (kind: keyof typeof LEAST_FILL) =>
    start + Math.ceil(length * (leastFill ?? LEAST_FILL[kind]));
  const block = lastBelow(styled.blocks, end);
  if (block >= least("block")) return block;
  const glued = new Set(styled.glued);
  const lines = positions(window, /\n+/g, start).filter((at) => !glued.has(at) && at <= end);
  const topLine = lines.findLast((at) => !/[\s]/.test(styled.text[at] ?? ""));
  if (topLine !== undefined && topLine >= least("topLine")) return topLine;
  const line = lines.at(-1);
  if (line !== undefined && line >= least("line")) return line;
  const whole = (at: number) => at <= end && !isInside(styled.marks, at);
  const sentence = positions(window, /[.!?…]["'”’)\]]*[ \n]+|[。！？]+/g, start).findLast(whole);
  if (sentence !== undefined && sentence >= least("sentence")) return sentence;
  const word = positions(window, /[ \n]+/g, start).findLast(whole);
  return word !== undefined && word >= least("word") ? word : end;
}

function lastBelow(sorted: readonly number[], end: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? 0) <= end) low = middle + 1;
    else high = middle;
  }
  return sorted[low - 1] ?? -1;
}

/** Ends of the matches, as offsets in the whole text. */
function positions(window: string, pattern: RegExp, start: number): number[] {
  return [...window.matchAll(pattern)].map(({ index, 0: found }) => start + index + found.length);
}

/** Whether a cut there would go through a link or a short piece of code. */
function isInside(marks: readonly Mark[], at: number): boolean {
  return marks.some(
    ({ kind, from, to }) => (kind === "link" || kind === "code") && from < at && to > at,
  );
}
