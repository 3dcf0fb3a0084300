import { clean } from "./clean.ts";

export type Style = "bold" | "italic" | "underline" | "strike" | "spoiler";
export type Kind = Style | "code" | "pre" | "link" | "quote" | "long-quote";

/** A stretch of the visible text; two of them nest or do not touch. */
export interface Mark {
  kind: Kind;
  /** First UTF-16 unit. */
  from: number;
  /** The unit after the last one. */
  to: number;
  /** Of a link. */
  href?: string;
  /** Of a code block. */
  language?: string;
}

/** A text as a reader sees it, how its stretches look, and where it divides well. */
export interface Styled {
  text: string;
  /** By `from`; of two that begin together the outer one first. */
  marks: Mark[];
  /** Where a block begins. */
  blocks: number[];
  /** Where a line begins that belongs to the one before it, as the first under a heading does. */
  glued: number[];
}

/** Deeper lists are not indented further. */
const MAX_INDENT = 16;
const STYLES = new Set<Kind>(["bold", "italic", "underline", "strike", "spoiler"]);

interface OpenMark {
  /** Undefined = it adds nothing: the same style is on, or what surrounds it forbids it. */
  mark: Mark | undefined;
}

/** Builds a styled text from its beginning to its end. */
export class Writer {
  #text = "";
  #last = "";
  #indents: string[] = [];
  #newlines = 0;
  #block = false;
  #glue = false;
  readonly #open: OpenMark[] = [];
  readonly #marks: Mark[] = [];
  readonly #blocks: number[] = [];
  readonly #glued: number[] = [];

  /** Asks for at least so many newlines before the next text, which begins a block. */
  separate(newlines: number): void {
    this.#newlines = Math.max(this.#newlines, newlines);
    this.#block = true;
  }

  /** Asks for a new line in the same block. */
  breakLine(): void {
    this.#newlines = Math.max(this.#newlines, 1);
  }

  /** What comes next stays together with what came before. */
  glueNext(): void {
    this.#glue = true;
  }

  indent(prefix: string): void {
    this.#indents.push(prefix);
  }

  outdent(): void {
    this.#indents.pop();
  }

  write(text: string): void {
    const cleaned = clean(text);
    if (!cleaned) return;
    const prefix = this.#prefix();
    this.#flush(prefix);
    this.#append(prefix ? cleaned.replaceAll("\n", `\n${prefix}`) : cleaned);
  }

  /** Writes lines that keep their own indentation. */
  writeLines(text: string): void {
    const cleaned = clean(text);
    if (!cleaned) return;
    this.#flush("");
    this.#append(cleaned);
  }

  open(kind: Kind, facts: { href?: string; language?: string } = {}): void {
    const outer = this.#open.flatMap(({ mark }) => mark ?? []);
    const forbidden =
      outer.some((mark) => mark.kind === kind) ||
      // Of two such marks Telegram keeps the outer one.
      ((kind === "code" || kind === "link") && outer.some((mark) => mark.kind === "link"));
    const mark = forbidden ? undefined : { kind, from: -1, to: -1, ...facts };
    if (mark) this.#marks.push(mark);
    this.#open.push({ mark });
  }

  close(): void {
    const mark = this.#open.pop()?.mark;
    if (mark) mark.to = this.#text.length;
  }

  /** Whether a mark of this kind is open. */
  inside(kind: Kind): boolean {
    return this.#open.some(({ mark }) => mark?.kind === kind);
  }

  /** What has been written since `mark` began decides how it looks; `look` may change it. */
  reconsider(kind: Kind, look: (text: string) => Kind): void {
    const mark = this.#open.findLast((open) => open.mark?.kind === kind)?.mark;
    if (mark && mark.from >= 0) mark.kind = look(this.#text.slice(mark.from));
  }

  done(): Styled {
    const text = this.#text.replace(/\s+$/, "");
    const marks = this.#marks
      .filter(({ from }) => from >= 0)
      .map((mark) => ({ ...mark, to: Math.min(mark.to, text.length) }))
      .filter(({ from, to }) => to > from);
    return {
      text,
      marks: withoutStyledCode(marks).sort((a, b) => a.from - b.from || b.to - a.to),
      blocks: this.#blocks.filter((at) => at < text.length),
      glued: this.#glued,
    };
  }

  /** Of direction marks in a row Telegram turns all but the last into something else. */
  #append(text: string): void {
    const shown = isDirection(this.#last) && isDirection(text) ? text.slice(1) : text;
    this.#text += shown;
    // Kept apart: to look at the end of the growing text would copy all of it.
    this.#last = shown.at(-1) ?? this.#last;
  }

  #prefix(): string {
    return this.#indents.join("").slice(0, MAX_INDENT);
  }

  #flush(prefix: string): void {
    if (this.#text && this.#newlines > 0) {
      const at = this.#text.length + this.#newlines;
      this.#text += "\n".repeat(this.#newlines) + prefix;
      if (this.#glue) this.#glued.push(at);
      else if (this.#block) this.#blocks.push(at);
    } else if (!this.#text) this.#text += prefix;
    this.#newlines = 0;
    this.#block = false;
    this.#glue = false;
    for (const { mark } of this.#open) if (mark?.from === -1) mark.from = this.#text.length;
  }
}

/** The marks that lie in `text[from, to)` at least in part, in their order. */
export function overlapping(marks: readonly Mark[], from: number, to: number): Mark[] {
  const found: Mark[] = [];
  for (const mark of marks) {
    if (mark.from >= to) break;
    if (mark.to > from) found.push(mark);
  }
  return found;
}

const isDirection = (text: string) => text.startsWith("\u200e") || text.startsWith("\u200f");

/** Code cannot be bold or struck out, so styles end before it and begin again after it. */
function withoutStyledCode(marks: Mark[]): Mark[] {
  const code = marks.filter(({ kind }) => kind === "code" || kind === "pre");
  if (code.length === 0) return marks;
  return marks.flatMap((mark) => (STYLES.has(mark.kind) ? piecesAround(mark, code) : [mark]));
}

function piecesAround(style: Mark, code: Mark[]): Mark[] {
  const pieces: Mark[] = [];
  let { from } = style;
  for (let at = firstEndingAfter(code, from); at < code.length; at++) {
    const block = code[at];
    if (!block || block.from >= style.to) break;
    if (block.from > from) pieces.push({ ...style, from, to: block.from });
    from = block.to;
  }
  if (from < style.to) pieces.push({ ...style, from });
  return pieces;
}

/** Index of the first of the marks, which are in order and do not overlap, that ends after `offset`. */
function firstEndingAfter(marks: readonly Mark[], offset: number): number {
  let [low, high] = [0, marks.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((marks[middle]?.to ?? 0) > offset) high = middle;
    else low = middle + 1;
  }
  return low;
}
