import MarkdownIt from "markdown-it";
import { BlockWriter } from "./blocks.ts";
import { NameAwareState } from "./flanking.ts";
import { type Styled, Writer } from "./styled.ts";

/** What nests deeper is not read as Markdown at all: the parser would drop it. */
const MAX_NESTING = 100;

const parser = new MarkdownIt("default", { html: false, maxNesting: MAX_NESTING });
parser.inline.State = NameAwareState;
// A definition that nothing refers to would vanish.
parser.disable("reference");
// Links are judged where they are written, and nothing of them is lost.
parser.validateLink = () => true;
parser.normalizeLink = (url) => url;
parser.normalizeLinkText = (url) => url;
parser.inline.ruler.before("newline", "line_break_tag", (state, silent) => {
  const found = /^<br\s*\/?>/i.exec(state.src.slice(state.pos, state.pos + 8));
  if (!found) return false;
  if (!silent) state.push("hardbreak", "br", 0);
  state.pos += found[0].length;
  return true;
});

/** The visible text of some Markdown, and how it looks. Nothing that a reader would see is dropped. */
export function render(markdown: string): Styled {
  try {
    const tokens = parser.parse(markdown, {});
    const tooDeep = tokens.some(({ level }) => level >= MAX_NESTING - 1);
    if (!tooDeep) return new BlockWriter().write(tokens, markdown.split(/\r\n?|\n/));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return verbatim(markdown);
}

/** The source itself as text. */
export function verbatim(source: string): Styled {
  const writer = new Writer();
  writer.writeLines(source);
  return writer.done();
}
