import { MAX_PARTS } from "#protocol/delivery.ts";
import { isInvisible } from "./clean.ts";
import { escapeHtml, toHtml } from "./html.ts";
import { render, verbatim } from "./markdown.ts";
import { type Limits, nextSpan } from "./split.ts";
import type { Styled } from "./styled.ts";

/** Telegram's own: UTF-16 units of visible text, bytes of `text`, entities. */
export const TELEGRAM_LIMITS = { units: 4096, bytes: 32_768, marks: 100 };

/** Room for a mark before the text, such as `↻ `. */
const MARK_UNITS = 16;

const PART_LIMITS: Limits = {
  units: TELEGRAM_LIMITS.units - MARK_UNITS,
  bytes: TELEGRAM_LIMITS.bytes - 4 * MARK_UNITS,
  marks: TELEGRAM_LIMITS.marks,
};

/** How full each message is at least, when there would be too many otherwise. */
const DENSE_FILL = 0.9;

/** Raised whenever the same Markdown may be divided differently than before; a test compares. */
export const PLAN_VERSION = 1;

/** One message of an answer. */
export interface Part {
  /** Its place among the parts of the whole answer, when planned from the beginning. */
  index: number;
  /** The stretch of the answer's visible text: UTF-16 units. */
  from: number;
  to: number;
  /** As HTML for `parse_mode=HTML`. */
  html: string;
  /** Without any formatting, for the case that Telegram refuses the HTML. */
  text: string;
}

export interface PlanOptions {
  /** Where the visible text goes on: the `to` of the last part that was sent. */
  from?: number;
  limits?: Limits;
}

/**
 * The messages that carry some Markdown to a chat, each within Telegram's limits, at most `MAX_PARTS`: of what would need more
 * the Markdown itself is sent. A pure function of the text: `plan(text, { from: parts[k].to })` are the parts after
 * `parts[k]`. Text that nobody can see has no parts.
 */
export function plan(
  markdown: string,
  { from = 0, limits = PART_LIMITS }: PlanOptions = {},
): Part[] {
  const styled = render(markdown);
  const parts = divide(styled, 0, limits);
  if (parts.length <= MAX_PARTS) return from === 0 ? parts : divide(styled, from, limits);
  return divide(verbatim(markdown), from, { ...limits, leastFill: DENSE_FILL });
}

function divide(styled: Styled, from: number, limits: Limits): Part[] {
  const parts: Part[] = [];
  for (let at = from; ; ) {
    const span = nextSpan(styled, at, limits);
    if (!span) return parts;
    at = span.to;
    const text = styled.text.slice(span.from, span.to).trimEnd();
    if (isInvisible(text)) continue;
    const html = toHtml(styled.text, styled.marks, span.from, span.from + text.length);
    parts.push({ index: parts.length, from: span.from, to: span.to, html, text });
  }
}

/** The part with a mark before it, such as `↻ ` for a message that may be there already. */
export function marked(part: Part, mark: string): Part {
  return { ...part, html: escapeHtml(mark) + part.html, text: mark + part.text };
}
