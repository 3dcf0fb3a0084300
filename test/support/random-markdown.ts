import fc from "fast-check";

/** Random Markdown: well-formed documents, wild mixtures of its characters, and everything that Unicode has between. */

const WORDS = [
  "alpha",
  "Größe",
  "snake_case_name",
  "__init__",
  "src/**/*.ts",
  "*.log",
  "2*3*4",
  "a<b>c</b>",
  "&amp;",
  "&#8232;",
  "&lt;tag&gt;",
  "x&y",
  "东京",
  "「引用」",
  "これは。",
  "مرحبا",
  "👩‍👩‍👧‍👦",
  "🇩🇪🇫🇷",
  "e\u0301\u0323",
  "a\u030a",
  "\u200f\u200e",
  "\u202eabc",
  "|",
  "||hidden||",
  "https://example.org/a_b?c=1&d=2",
  "user@example.org",
  "\\*",
  "C:\\dir",
  "`",
  "``",
  "<br>",
  "…",
  "end.",
  "why?",
];
const URLS = [
  'https://example.org/a?b=1&c="2"',
  "http://localhost:3000/x",
  "mailto:bob@example.org",
  "tg://user?id=5",
  "javascript:alert(1)",
  "/srv/src/main.ts:12",
  "<http://example.org/with space>",
  "http://[::1]/",
  "ftp://example.org",
  "",
  "#anchor",
];

const word = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...WORDS) },
  { weight: 2, arbitrary: fc.stringMatching(/^[a-z]{1,12}$/) },
  { weight: 1, arbitrary: fc.string({ unit: "grapheme", maxLength: 8 }) },
);
const phrase = fc.array(word, { minLength: 1, maxLength: 6 }).map((words) => words.join(" "));

const { inline } = fc.letrec<{ inline: string; piece: string }>((tie) => ({
  piece: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    phrase,
    phrase.map((text) => `\`${text}\``),
    fc
      .tuple(fc.constantFrom("**", "*", "_", "__", "~~", "***", "||"), tie("inline"))
      .map(([mark, text]) => `${mark}${text}${mark}`),
    // Crossing, on purpose.
    fc.tuple(phrase, phrase, phrase).map(([a, b, c]) => `**${a} _${b}** ${c}_`),
    fc.tuple(tie("inline"), fc.constantFrom(...URLS)).map(([text, url]) => `[${text}](${url})`),
    fc.tuple(phrase, fc.constantFrom(...URLS)).map(([text, url]) => `![${text}](${url})`),
  ),
  inline: fc.array(tie("piece"), { minLength: 1, maxLength: 3 }).map((pieces) => pieces.join(" ")),
}));

const code = fc
  .tuple(
    fc.constantFrom("```", "~~~", "````"),
    fc.constantFrom("", "ts", "c++", 'python title="x"', "<b>"),
    fc.array(fc.tuple(fc.constantFrom("", "  ", "\t", "    "), phrase), { maxLength: 8 }),
    fc.boolean(),
  )
  .map(([fence, language, lines, closed]) =>
    [`${fence}${language}`, ...lines.map((line) => line.join("")), closed ? fence : ""].join("\n"),
  );

const table = fc
  .tuple(
    fc.array(phrase, { minLength: 1, maxLength: 4 }),
    fc.array(fc.array(inline, { minLength: 1, maxLength: 5 }), { maxLength: 4 }),
    fc.constantFrom("---", ":--", "--:", ":-:"),
  )
  .map(([head, rows, rule]) =>
    [head, head.map(() => rule), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n"),
  );

const prefixed = (text: string, first: string, rest: string) =>
  text
    .split("\n")
    .map((line, at) => (at === 0 ? first : rest) + line)
    .join("\n");

const { document: structured } = fc.letrec<{ document: string; block: string }>((tie) => ({
  block: fc.oneof(
    { maxDepth: 2, withCrossShrink: true },
    { weight: 4, arbitrary: inline },
    {
      weight: 1,
      arbitrary: fc.array(inline, { minLength: 1, maxLength: 5 }).map((lines) => lines.join("\n")),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(fc.constantFrom("#", "##", "######"), inline)
        .map((parts) => parts.join(" ")),
    },
    { weight: 1, arbitrary: code },
    { weight: 1, arbitrary: table },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        "---",
        "***",
        "",
        "[1]: https://example.org",
        "<div>\nraw\n</div>",
      ),
    },
    { weight: 1, arbitrary: tie("document").map((text) => prefixed(text, "> ", "> ")) },
    {
      weight: 2,
      arbitrary: fc
        .tuple(
          fc.constantFrom("- ", "* ", "1. ", "07) ", "- [ ] ", "- [x] "),
          fc.array(tie("document"), { minLength: 1, maxLength: 3 }),
        )
        .map(([marker, items]) =>
          items
            .map((text) => prefixed(text, marker, " ".repeat(marker.indexOf(" ") + 1)))
            .join("\n"),
        ),
    },
  ),
  document: fc
    .tuple(
      fc.array(tie("block"), { minLength: 1, maxLength: 4 }),
      fc.constantFrom("\n\n", "\n", "\r\n\r\n"),
    )
    .map(([blocks, gap]) => blocks.join(gap)),
}));

const noise = fc
  .array(
    fc.oneof(
      {
        weight: 4,
        arbitrary: fc.constantFrom(...Array.from("*_~`#>-+|[]()<>!\\&;:./ \n\n\t123abc")),
      },
      { weight: 1, arbitrary: word },
      { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 3 }) },
      // Halves of pairs, directions, combining marks, what nobody sees.
      {
        weight: 1,
        arbitrary: fc.constantFrom(
          "\ud83d",
          "\ude00",
          "\u200b",
          "\u2800",
          "\u0301",
          "\0",
          "\u2028",
          "\u200f",
        ),
      },
    ),
    { maxLength: 120 },
  )
  .map((pieces) => pieces.join(""));

/** A few hundred characters. */
export const shortMarkdown = fc.oneof(
  { weight: 3, arbitrary: structured },
  { weight: 2, arbitrary: noise },
  {
    weight: 1,
    arbitrary: fc.tuple(structured, noise, structured).map((texts) => texts.join("\n")),
  },
);

/** Up to a few messages. */
export const longMarkdown = fc
  .tuple(
    fc.array(shortMarkdown, { minLength: 1, maxLength: 4 }),
    fc.integer({ min: 4000, max: 14_000 }),
  )
  .map(([texts, length]) => {
    const once = `${texts.join("\n\n")}\n\n`;
    return once.repeat(Math.ceil(length / once.length)).slice(0, length);
  });
