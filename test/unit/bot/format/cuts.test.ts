import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { marked, PLAN_VERSION, plan, TELEGRAM_LIMITS } from "#bot/format/plan.ts";
import { MAX_DELIVERY_BYTES, MAX_PARTS } from "#protocol/delivery.ts";

const limits = { units: 60, bytes: 32_768, marks: 100 };
const texts = (markdown: string) => plan(markdown, { limits }).map(({ text }) => text);
const htmls = (markdown: string) => plan(markdown, { limits }).map(({ html }) => html);
const words = (count: number, word = "word") => Array.from({ length: count }, () => word).join(" ");

test.each([
  ["between paragraphs", `${words(8)}\n\n${words(8)}`, [words(8), words(8)]],
  [
    "between lines, where a paragraph is too long",
    `${words(8)}\n${words(8)}`,
    [words(8), words(8)],
  ],
  [
    "after a sentence, where a line is too long",
    `${words(9)}. Then ${words(9)}`,
    [`${words(9)}.`, `Then ${words(9)}`],
  ],
  [
    "after a Chinese sentence",
    `${"字".repeat(45)}。${"字".repeat(30)}`,
    [`${"字".repeat(45)}。`, "字".repeat(30)],
  ],
  ["between words, where there is no sentence", words(20), [words(12), words(8)]],
  ["between characters, where there is no word", "x".repeat(100), ["x".repeat(60), "x".repeat(40)]],
  [
    "before a heading, not after it",
    `${words(6)}\n\n# ${words(3)}\n\n${words(9)}`,
    [words(6), `${words(3)}\n\n${words(9)}`],
  ],
  [
    "before code that fits as a whole",
    `${words(6)}\n\n\`\`\`\n${words(8)}\n\`\`\``,
    [words(6), words(8)],
  ],
  ["between items", `- ${words(8)}\n- ${words(8)}`, [`• ${words(8)}`, `• ${words(8)}`]],
])("a message ends %s", (_, markdown, expected) => expect(texts(markdown)).toEqual(expected));

test("code is closed and opened again, with its language, and keeps its lines", () => {
  const block = `if (x) {\n  ${words(6)};\n}`;
  const pre = (code: string) => `<pre><code class="language-ts">${code}</code></pre>`;
  expect(htmls(`\`\`\`ts\n${block}\n${block}\n\`\`\``)).toEqual([pre(block), pre(block)]);
});

test("emphasis, quotes and links go on in the next message", () => {
  expect(htmls(`> **${words(20)}**`)).toEqual([
    `<blockquote><b>${words(12)}</b></blockquote>`,
    `<blockquote><b>${words(8)}</b></blockquote>`,
  ]);
  expect(htmls(`${words(10)} [${words(4)}](https://x.org) ${words(2)}`)).toEqual([
    words(10),
    `<a href="https://x.org">${words(4)}</a> ${words(2)}`,
  ]);
});

test("no character that a reader sees is cut in two", () => {
  const family = "👩‍👩‍👧‍👦";
  expect(texts(family.repeat(20))).toEqual(Array.from({ length: 4 }, () => family.repeat(5)));
  expect(texts(`${"x".repeat(59)}e\u0301${"x".repeat(20)}`)[1]).toMatch(/^e\u0301/);
  // One that fits in no message is cut between code points.
  const endless = `e${"\u0301".repeat(100)}`;
  expect(texts(endless).join("")).toBe(endless);
  expect(texts("\u{1d167}".repeat(100)).every((text) => text.isWellFormed())).toBe(true);
});

test("a message holds no more entities and bytes than Telegram takes", () => {
  const many = plan("**a** `b` ".repeat(300));
  expect(many.length).toBe(6);
  for (const { html } of many) expect(html.match(/<[bc]/g)?.length).toBeLessThanOrEqual(100);
  const heavy = plan(`[a](https://x.org/${"&".repeat(1800)}) `.repeat(30));
  expect(heavy.length).toBeGreaterThan(5);
  for (const { html } of heavy) {
    expect(Buffer.byteLength(html)).toBeLessThanOrEqual(TELEGRAM_LIMITS.bytes);
  }
});

test("an answer never has more parts than a delivery may have", () => {
  // The same shares at an eighth of the size; the largest answer there may be is one of them.
  const eighth = { units: TELEGRAM_LIMITS.units / 8, bytes: 4096, marks: 12 };
  const cut = (text: string, bytes: number) =>
    text.repeat(Math.ceil(bytes / text.length)).slice(0, bytes);
  const whole: [markdown: string, limits: typeof eighth | undefined][] = [
    [cut("**a** ", MAX_DELIVERY_BYTES), undefined],
    ...["`b` ", "- a\n  - b\n", "|a|b|\n|-|-|\n|c|d|\n\n", "x\n\n"].map(
      (text): [string, typeof eighth] => [cut(text, MAX_DELIVERY_BYTES / 8), eighth],
    ),
  ];
  for (const [markdown, limited] of whole) {
    const options = limited ? { limits: limited } : {};
    const parts = plan(markdown, options);
    expect(parts.length).toBeLessThanOrEqual(MAX_PARTS);
    expect(parts.length).toBeGreaterThan(MAX_PARTS / 4);
    const [, second] = parts;
    const rest = plan(markdown, { ...options, from: second?.to ?? 0 });
    expect(rest[0]?.html).toBe(parts[2]?.html);
  }
  const lazy = `${"- ".repeat(20)}a\n${"b\n".repeat(MAX_DELIVERY_BYTES / 16 - 30)}`;
  expect(plan(lazy, { limits: eighth }).length).toBeLessThanOrEqual(MAX_PARTS);
});

test("there is room for a mark before the text", () => {
  const [full] = plan("x".repeat(9000));
  const again = full && marked(full, "↻ ");
  expect(again?.html).toMatch(/^↻ x/);
  expect(again?.text.length).toBeLessThanOrEqual(TELEGRAM_LIMITS.units);
});

test("the rest of an answer can be planned from where a part ended", () => {
  const markdown = `# Title\n\n${`${words(30)}\n\n- **item**\n\n\`\`\`js\n${words(20)}\n\`\`\`\n\n`.repeat(60)}`;
  const parts = plan(markdown);
  expect(parts.length).toBeGreaterThan(2);
  for (const [index, { to }] of parts.entries()) {
    expect(plan(markdown, { from: to }).map(({ html }) => html)).toEqual(
      parts.slice(index + 1).map(({ html }) => html),
    );
  }
});

test("the plan of known texts changes only together with its version", () => {
  const samples = [
    `# A\n\n${words(2000)}. ${words(900, "字")}`,
    "> quote **bold** [l](https://x.org)\n".repeat(300),
    `\`\`\`ts\n${"  const x = 1;\n".repeat(700)}\`\`\``,
    "- item `code`\n  1. deeper\n\n".repeat(400),
    `| a | b |\n|--|--:|\n${"| x | 12 |\n".repeat(500)}`,
    "👩‍👩‍👧‍👦".repeat(900),
  ];
  const digest = createHash("sha256").update(JSON.stringify(samples.map((text) => plan(text))));
  expect(`${PLAN_VERSION} ${digest.digest("hex").slice(0, 16)}`).toMatchInlineSnapshot(
    `"1 2e83707c1b90feea"`,
  );
});
