const GRAPHEMES = new Intl.Segmenter("en", { granularity: "grapheme" });
const WIDE =
  /^(?:[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\u3000-\u303f\uff01-\uff60\uffe0-\uffe6]|\p{Emoji_Presentation}|.\ufe0f)/u;

/** Columns that a text takes in a fixed-width font. */
export function displayWidth(text: string): number {
  if (/^[\x20-\x7e]*$/.test(text)) return text.length;
  let width = 0;
  for (const { segment } of GRAPHEMES.segment(text)) width += WIDE.test(segment) ? 2 : 1;
  return width;
}

/** Whether a cut at `offset` would go through what a reader sees as one character. */
export function graphemeBoundaries(text: string): (offset: number) => boolean {
  const segments = GRAPHEMES.segment(text);
  return (offset) =>
    offset <= 0 || offset >= text.length || segments.containing(offset)?.index === offset;
}
