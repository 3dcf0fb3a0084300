import { expect, test } from "vitest";
import { showText } from "#test/fakes/telegram/entities.ts";
import { checkedLink, parseHtml } from "#test/fakes/telegram/html.ts";

const shown = (html: string) => {
  const { text, entities } = parseHtml(html);
  return showText(text, entities);
};
const one = (type: string, offset: number, length: number, more = {}) => ({
  type,
  offset,
  length,
  ...more,
});

test.each([
  ["bold and its other name", "<b>a</b><strong>b</strong>", "ab", [one("bold", 0, 2)]],
  ["upper case", "<B>a</b>", "a", [one("bold", 0, 1)]],
  ["italic", "<i>a</i> <em>b</em>", "a b", [one("italic", 0, 1), one("italic", 2, 1)]],
  ["underline", "<u>a</u> <ins>b</ins>", "a b", [one("underline", 0, 1), one("underline", 2, 1)]],
  [
    "struck",
    "<s>a</s>x<strike>b</strike>x<del>c</del>",
    "axbxc",
    [one("strikethrough", 0, 1), one("strikethrough", 2, 1), one("strikethrough", 4, 1)],
  ],
  [
    "spoilers",
    '<tg-spoiler>a</tg-spoiler>x<span class="tg-spoiler">b</span>',
    "axb",
    [one("spoiler", 0, 1), one("spoiler", 2, 1)],
  ],
  ["nested", "<b>a<i>b</i></b>", "ab", [one("bold", 0, 2), one("italic", 1, 1)]],
  ["an empty end tag", "<b>a</>", "a", [one("bold", 0, 1)]],
  ["a tag around nothing", "a<b></b>b", "ab", []],
  ["references", "&lt;&gt;&amp;&quot;&#65;&#x42;&nbsp;&", '<>&"AB&nbsp;&', []],
  ["a reference without a semicolon", "&lt&ltb", "<&ltb", []],
  ["a pair as two references", "&#xd83d;&#xde00;", "😀", []],
  ["code", "<code>a</code>", "a", [one("code", 0, 1)]],
  ["a block", "<pre>a\nb</pre>", "a\nb", [one("pre", 0, 3)]],
  [
    "a block with its language",
    '<pre><code class="language-ts">a</code></pre>',
    "a",
    [one("pre", 0, 1, { language: "ts" })],
  ],
  [
    "the other way round",
    '<code class="language-ts"><pre>a</pre></code>',
    "a",
    [one("pre", 0, 1, { language: "ts" })],
  ],
  ["code alone has no language", '<code class="language-ts">a</code>', "a", [one("code", 0, 1)]],
  [
    "a link",
    '<a href="https://x.org/?a=1&amp;b=2">a</a>',
    "a",
    [one("text_link", 0, 1, { url: "https://x.org/?a=1&b=2" })],
  ],
  [
    "a link in single quotes",
    "<a href = 'https://x.org'>a</a>",
    "a",
    [one("text_link", 0, 1, { url: "https://x.org" })],
  ],
  [
    "a link to its text",
    "<a>x.org</a>",
    "x.org",
    [one("text_link", 0, 5, { url: "http://x.org" })],
  ],
  [
    "quotes",
    "<blockquote>a</blockquote>\n<blockquote expandable>b</blockquote>",
    "a\nb",
    [one("blockquote", 0, 1), one("expandable_blockquote", 2, 1)],
  ],
  [
    "an emoji",
    '<tg-emoji emoji-id="5368324170671202286">👍</tg-emoji>',
    "👍",
    [one("custom_emoji", 0, 2, { custom_emoji_id: "5368324170671202286" })],
  ],
  ["UTF-16", "😀<b>a</b>", "😀a", [one("bold", 2, 1)]],
])("it takes %s", (_, html, text, entities) => {
  expect(shown(html)).toEqual({ text, entities, lost: [] });
});

test.each([
  ["a < b", 'Unsupported start tag "" at byte offset 2'],
  ["<p>a</p>", 'Unsupported start tag "p" at byte offset 0'],
  ["ä<x y>", 'Unsupported start tag "x" at byte offset 2'],
  ["😀<br/>", 'Unsupported start tag "br/" at byte offset 4'],
  ["a<", "Unclosed start tag at byte offset 1"],
  ["<b", "Unclosed start tag at byte offset 0"],
  ["<b ", 'Unclosed start tag "b" at byte offset 0'],
  ["<a href=", 'Unclosed start tag "a" at byte offset 0'],
  ['<a href="x', "Unclosed start tag at byte offset 0"],
  ["<b =x>a</b>", 'Empty attribute name in the tag "b" at byte offset 0'],
  [
    "<b bold>a</b>",
    'Expected equal sign in declaration of an attribute of the tag "b" at byte offset 0',
  ],
  ["<a href=x/y>a</a>", "Unexpected end of name token at byte offset 8"],
  ["<span>a</span>", 'Tag "span" must have class "tg-spoiler" at byte offset 0'],
  ["a</b>", "Unexpected end tag at byte offset 1"],
  ["<b>a</b", "Unclosed end tag at byte offset 4"],
  ["<b>a</i>", 'Unmatched end tag at byte offset 4, expected "</b>", found "</i>"'],
  ["<b><i>a</b></i>", 'Unmatched end tag at byte offset 7, expected "</i>", found "</b>"'],
  ["<b>a<i>b</i>", `Can't find end tag corresponding to start tag "b"`],
  ["<tg-emoji>a</tg-emoji>", "Invalid custom emoji identifier specified"],
  [
    "&#xd83d;a",
    "Text contains invalid Unicode characters after decoding HTML entities, check for unmatched surrogate code units",
  ],
])("it refuses %s", (html, problem) => {
  expect(() => parseHtml(html)).toThrow(`can't parse entities: ${problem}`);
});

test.each([
  [
    "styles in code",
    "<b>a<code>b</code>c</b>",
    [one("bold", 0, 1), one("code", 1, 1), one("bold", 2, 1)],
  ],
  [
    "code in a link",
    '<a href="https://x.org">a<code>b</code></a>',
    [one("text_link", 0, 2, { url: "https://x.org" })],
  ],
  [
    "a quote in a quote",
    "<blockquote>a<blockquote>b</blockquote></blockquote>",
    [one("blockquote", 0, 2)],
  ],
  ["a quote in code", "<pre>a<blockquote>b</blockquote></pre>", [one("blockquote", 1, 1)]],
])("it silently drops %s, and the fake says so", (_, html, entities) => {
  const result = shown(html);
  expect(result.entities).toEqual(entities);
  expect(result.lost.length).toBeGreaterThan(0);
});

test("it keeps a hundred entities, code and links before styles", () => {
  const result = shown(`${"<b>a</b> ".repeat(60)}${"<code>b</code> ".repeat(60)}`);
  const count = (type: string) => result.entities.filter((entity) => entity.type === type).length;
  expect([count("code"), count("bold"), result.lost.length]).toEqual([60, 40, 1]);
});

test("it cuts white space off the message and off the beginning of entities", () => {
  expect(shown(" \n<b> a </b> <i> </i>\n")).toEqual({
    text: "a",
    entities: [one("bold", 0, 1)],
    lost: [],
  });
});

test("it changes characters as Telegram does", () => {
  expect(shown("a\tb\r\nc\u0000d\u202ee\u030af\u200f\u200fg<b>h</b>")).toEqual({
    text: "a b\nc def\u200c\u200fgh",
    entities: [one("bold", 12, 1)],
    lost: [],
  });
});

test.each([
  ["https://x.org/a b", "https://x.org/a b"],
  ["HTTP://x.org", "http://x.org"],
  ["x.org/a", "http://x.org/a"],
  ["http://[::1]:80/", "http://[::1]:80/"],
  ["mailto:bob@x.org", "http://mailto:bob@x.org"],
  ["tg://user?id=5", "tg://user?id=5"],
  ["tg:resolve?domain=x", "tg://resolve?domain=x"],
  ["http://localhost:3000", undefined],
  ["/srv/main.ts", undefined],
  ["javascript:alert(1)", undefined],
  ["ftp://x.org", undefined],
  ["tg://a b", undefined],
  ["https://x.org:99999", undefined],
])("what becomes of a link to %s", (target, url) => expect(checkedLink(target)).toBe(url));
