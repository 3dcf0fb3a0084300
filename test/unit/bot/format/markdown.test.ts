import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toHtml } from "#bot/format/html.ts";
import { render } from "#bot/format/markdown.ts";
import { plan } from "#bot/format/plan.ts";
import { proofSeed } from "#test/support/seed.ts";

function html(markdown: string): string {
  const { text, marks } = render(markdown);
  return toHtml(text, marks, 0, text.length);
}

describe("what a model writes", () => {
  test.each([
    [
      "bold, italic, struck",
      "**a** *b* ~~c~~ ***d***",
      "<b>a</b> <i>b</i> <s>c</s> <i><b>d</b></i>",
    ],
    ["nested", "**a *b* c**", "<b>a <i>b</i> c</b>"],
    ["crossing emphasis", "**a _b** c_", "<b>a _b</b> c_"],
    ["a heading", "# A\n\n## B\ntext", "<b><u>A</u></b>\n\n<b>B</b>\n\ntext"],
    ["code in bold", "**run `x` now**", "<b>run </b><code>x</code><b> now</b>"],
    ["code in a heading", "## The `x`", "<b>The </b><code>x</code>"],
    ["code in a link", "[`x`](https://a.org)", '<a href="https://a.org">x</a>'],
    ["escapes", "a < b & c > d", "a &lt; b &amp; c &gt; d"],
    ["raw HTML", "<b>x</b> <script>", "&lt;b&gt;x&lt;/b&gt; &lt;script&gt;"],
    ["a line break tag", "a<br>b<br/>c", "a\nb\nc"],
    ["character references", "&lt;a&gt; &copy;", "&lt;a&gt; ©"],
    ["a spoiler", "||secret|| a || b || c", "<tg-spoiler>secret</tg-spoiler> a || b || c"],
    ["a rule", "a\n\n---\n\nb", "a\n\n———\n\nb"],
    ["lines of a paragraph", "a\nb", "a\nb"],
    ["an unclosed fence", "```ts\nx", '<pre><code class="language-ts">x</code></pre>'],
    [
      "a fence with more than a language",
      '```py title="a"\nx\n```',
      '<pre><code class="language-py">x</code></pre>',
    ],
    ["a fence whose language would need escapes", '```"><b>\nx\n```', "<pre>x</pre>"],
    ["tabs in code", "```\n\ta\nbc\td\n```", "<pre>    a\nbc  d</pre>"],
    ["indented code", "    x < y", "<pre>x &lt; y</pre>"],
    ["text around code", "a\n\n```\nx\n```\n\nb", "a\n<pre>x</pre>\n\nb"],
    ["a definition that nothing uses", "[1]: https://a.org", "[1]: https://a.org"],
    ["a ring over a letter", "a\u030a.txt", "å.txt"],
    ["half of a pair", "a\ud83d", "a\ufffd"],
    ["a direction override", "a\u202eb", "ab"],
  ])("%s", (_, markdown, expected) => expect(html(markdown)).toBe(expected));

  test.each([
    ["bullets", "- a\n- b\n  - c\n    - d\n      - e", "• a\n• b\n  ◦ c\n    ▪ d\n      ▪ e"],
    ["a loose list", "- a\n\n- b", "• a\n• b"],
    ["numbers from where they start", "3. a\n4. b", "3. a\n4. b"],
    ["two paragraphs in an item", "1. a\n\n   b\n2. c", "1. a\n\n   b\n2. c"],
    ["tasks", "- [ ] a\n- [x] b\n- [X] **c**", "☐ a\n☑ b\n☑ <b>c</b>"],
    ["numbered tasks", "1. [ ] a", "1. ☐ a"],
    ["code in an item", "- a\n  ```\n  x\n  ```\n- b", "• a\n<pre>x</pre>\n• b"],
    ["an item that begins with code", "- ```\n  x\n  ```", "• \n<pre>x</pre>"],
    ["text after a list", "- a\n\nb", "• a\n\nb"],
  ])("lists: %s", (_, markdown, expected) => expect(html(markdown)).toBe(expected));

  test.each([
    ["a quote", "> a\n> b", "<blockquote>a\nb</blockquote>"],
    ["a quote in a quote", "> a\n> > b\n> > c", "<blockquote>a\n\n&gt; b\n&gt; c</blockquote>"],
    ["code in a quote", "> ```\n> x\n> ```", "<blockquote><pre>x</pre></blockquote>"],
    ["text after a quote", "> a\n\nb", "<blockquote>a</blockquote>\n\nb"],
    [
      "a long quote",
      `> ${"long ".repeat(200)}`,
      `<blockquote expandable>${"long ".repeat(200).trim()}</blockquote>`,
    ],
    [
      "many lines",
      "> a\n".repeat(10),
      `<blockquote expandable>${"a\n".repeat(10).trim()}</blockquote>`,
    ],
  ])("quotes: %s", (_, markdown, expected) => expect(html(markdown)).toBe(expected));

  test.each([
    [
      "aligned",
      "| A | Long |\n|:--|--:|\n| x | 1 |\n| yy | 22 |",
      "<pre>A  | Long\n---|-----\nx  |    1\nyy |   22</pre>",
    ],
    ["centred", "| A |\n|:-:|\n| wide |", "<pre> A\n----\nwide</pre>"],
    [
      "wide letters",
      "| A | B |\n|--|--|\n| 东京 | x |\n| a | 👍 |",
      "<pre>A    | B\n-----|---\n东京 | x\na    | 👍</pre>",
    ],
    ["formatting in cells", "| **A** |\n|--|\n| `x` |", "<pre>A\n-\nx</pre>"],
    [
      "links in cells",
      "| A | B |\n|--|--|\n| [x](https://a.org) | 1 |",
      '• <b>A:</b> <a href="https://a.org">x</a>\n  <b>B:</b> 1',
    ],
    [
      "too wide",
      `| A | B |\n|--|--|\n| x | ${"w ".repeat(40)} |`,
      `• <b>A:</b> x\n  <b>B:</b> ${"w ".repeat(40).trim()}`,
    ],
    [
      "more cells than columns",
      "| A |\n|--|\n| x | lost? |",
      "<pre>| A |\n|--|\n| x | lost? |</pre>",
    ],
  ])("tables: %s", (_, markdown, expected) => expect(html(markdown)).toBe(expected));

  test.each([
    ["https", "[a](https://x.org/?q=1&r=2)", '<a href="https://x.org/?q=1&amp;r=2">a</a>'],
    ["tg", "[a](tg://user?id=5)", '<a href="tg://user?id=5">a</a>'],
    ["bare", "see https://x.org/a_b_c", "see https://x.org/a_b_c"],
    ["in angles", "<https://x.org/>", '<a href="https://x.org/">https://x.org/</a>'],
    ["formatted label", "[a **b**](https://x.org)", '<a href="https://x.org">a <b>b</b></a>'],
    ["quotes in the address", '[a](<https://x.org/"b">)', '<a href="https://x.org/%22b%22">a</a>'],
    ["without a label", "[](https://x.org)", '<a href="https://x.org">https://x.org</a>'],
    ["e-mail", "[Bob](mailto:bob@x.org)", "Bob (bob@x.org)"],
    ["e-mail in angles", "<bob@x.org>", "bob@x.org"],
    ["a host that Telegram drops", "[a](http://localhost:3000)", "a (http://localhost:3000)"],
    ["a file", "[main.ts](/src/main.ts:12)", "main.ts (/src/main.ts:12)"],
    ["a script", "[a](javascript:alert(1))", "a (javascript:alert(1))"],
    ["data", "[a](data:text/html;base64,xx)", "a (data:text/html;base64,xx)"],
    ["an image", "![a](https://x.org/i.png)", '<a href="https://x.org/i.png">🖼 a</a>'],
    ["an image without a name", "![](out/i.png)", "🖼 out/i.png"],
    [
      "a linked image",
      "[![a](https://x.org/i.png)](https://x.org)",
      '<a href="https://x.org">🖼 a</a>',
    ],
  ])("links: %s", (_, markdown, expected) => expect(html(markdown)).toBe(expected));

  test.each([
    "__init__",
    "module.__init__.py and __main__",
    "snake_case_name and other_snake_case",
    "src/**/*.ts and test/**/*.ts",
    "**/*.ts or **/*.js",
    "*.ts and *.js",
    "*.* and *.*",
    "(src/**) and (test/**)",
    "C:\\Users\\x and D:\\y_z_a",
    "2*3*4 and 10**3 and 2**n**m1",
    "f(*args, **kwargs)",
    "char **argv, *p and int *q",
    "https://x.org/__init__/a_b_c",
    "~/a and ~/b",
    "a || b || c",
  ])("names keep their characters: %s", (text) =>
    expect(render(text)).toMatchObject({ text, marks: [] }),
  );

  test.each([
    ["__bold words__", "<b>bold words</b>"],
    ["**TCP**/**UDP**", "<b>TCP</b>/<b>UDP</b>"],
    ["**/etc/hosts** **API**s", "<b>/etc/hosts</b> <b>API</b>s"],
    ["**「重点」**内容 内容**「重点」**", "<b>「重点」</b>内容 内容<b>「重点」</b>"],
    ["这是**重点**内容", "这是<b>重点</b>内容"],
    ["**Note:** _x_", "<b>Note:</b> <i>x</i>"],
    ["**.env** and **src/**", "<b>.env</b> and <b>src/</b>"],
  ])("and emphasis beside them works: %s", (markdown, expected) =>
    expect(html(markdown)).toBe(expected),
  );
});

const name = fc.integer({ min: 0, max: 9999 }).map((n) => `word${n}x`);
const wrapped = fc
  .tuple(name, fc.constantFrom("", "**", "*", "~~", "`", "***", "||"))
  .map(([word, mark]) => mark + word + mark);
const line = fc.array(wrapped, { minLength: 1, maxLength: 6 }).map((words) => words.join(" "));
const block = fc.oneof(
  line,
  line.map((text) => `## ${text}`),
  fc.array(line, { minLength: 1 }).map((lines) => `> ${lines.join("\n> ")}`),
  fc
    .array(line, { minLength: 1 })
    .map((lines) => lines.map((text, n) => `${n + 1}. ${text}\n   - ${text}`).join("\n")),
  fc.array(name, { minLength: 1 }).map((lines) => `\`\`\`\n${lines.join("\n")}\n\`\`\``),
  fc.array(fc.array(name, { minLength: 1, maxLength: 4 }), { minLength: 1 }).map((rows) => {
    const [head = []] = rows;
    return [head, head.map(() => "--"), ...rows]
      .map((cells) => `| ${cells.join(" | ")} |`)
      .join("\n");
  }),
);

test("every word that was written is shown, as often as it was written, in its order", () => {
  fc.assert(
    fc.property(fc.array(block, { minLength: 1 }), (blocks) => {
      const markdown = blocks.join("\n\n");
      const words = (text: string) => text.match(/word\d+x/g);
      const shown = words(
        plan(markdown)
          .map(({ text }) => text)
          .join("\n"),
      );
      // Tables that became lists name their columns with each row.
      if (/^\|/m.test(markdown)) expect(new Set(shown)).toEqual(new Set(words(markdown)));
      else expect(shown).toEqual(words(markdown));
    }),
    { numRuns: 500, seed: proofSeed() },
  );
});

test("what nests too deeply for the parser is shown as it was written", () => {
  for (const deep of [
    `${"> ".repeat(5000)}end`,
    `${"- ".repeat(200)}end`,
    `${"[".repeat(5000)}end`,
  ]) {
    const text = plan(deep)
      .map((part) => part.text)
      .join("");
    expect(text).toContain("end");
  }
});

test("what nobody can see becomes no message", () => {
  for (const empty of ["", " \n ", "\u200b\u2800", "```\n\n```", "\u200e".repeat(9000), "&#32;"]) {
    expect(plan(empty)).toEqual([]);
  }
});
