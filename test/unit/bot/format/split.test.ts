import fc from "fast-check";
import { expect, test } from "vitest";
import { toHtml } from "#bot/format/html.ts";
import { render } from "#bot/format/markdown.ts";
import { type Part, plan, TELEGRAM_LIMITS } from "#bot/format/plan.ts";
import type { Limits } from "#bot/format/split.ts";
import { isInvisible, type ShownText, showText } from "#test/fakes/telegram/entities.ts";
import { parseHtml } from "#test/fakes/telegram/html.ts";
import { isFullProof, proofSize } from "#test/support/proof.ts";
import { longMarkdown, shortMarkdown } from "#test/support/random-markdown.ts";
import { proofSeed } from "#test/support/seed.ts";

/** Small messages, so that every kind of place is cut; some thirty of them at most. */
const small = fc
  .record({
    markdown: shortMarkdown,
    units: fc.integer({ min: 8, max: 300 }),
    bytes: fc.integer({ min: 6000, max: 32_768 }),
    marks: fc.integer({ min: 8, max: 100 }),
    resume: fc.nat({ max: 30 }),
  })
  .map(({ markdown, units, bytes, marks, resume }) => {
    const limits = { units: Math.max(units, Math.ceil(markdown.length / 30)), bytes, marks };
    return { markdown, limits, resume };
  });
const large = fc.record({
  markdown: longMarkdown,
  limits: fc.constant(undefined),
  resume: fc.nat({ max: 3 }),
});

/** What Telegram shows of some HTML; throws with Telegram's words when it refuses it. */
function shown(html: string, maxEntities?: number): ShownText {
  const { text, entities, ignored } = parseHtml(html);
  const result = showText(text, entities, maxEntities);
  return { ...result, lost: [...ignored, ...result.lost] };
}

/** For each UTF-16 unit the kinds of the entities over it. */
function looks({ text, entities }: ShownText): string[] {
  const at = Array.from({ length: text.length }, () => "");
  const ordered = entities.toSorted((a, b) => (a.type < b.type ? -1 : 1));
  for (const { type, offset, length, url = "", language = "" } of ordered) {
    const look = `${type} ${url}${language},`;
    for (let unit = offset; unit < offset + length; unit++) at[unit] += look;
  }
  return at;
}

/** Where the parts lie in the whole text; undefined when anything visible is missing, doubled or out of order. */
function placed(whole: string, parts: string[]): number[] | undefined {
  let at = 0;
  const places: number[] = [];
  for (const part of parts) {
    while (!whole.startsWith(part, at) && isInvisible(whole[at] ?? "x")) at++;
    if (!whole.startsWith(part, at)) return undefined;
    places.push(at);
    at += part.length;
  }
  return isInvisible(whole.slice(at)) ? places : undefined;
}

/** Whether each visible unit of the part looks as it does in the whole. */
function looksAlike(part: ShownText, whole: string[], place: number): boolean {
  return looks(part).every(
    (look, unit) => !/\S/.test(part.text[unit] ?? "") || look === whole[place + unit],
  );
}

const escaped = (text: string) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

/** What is wrong with one message. */
function problemsOf(part: Part, { text, lost }: ShownText, limits: Limits): string[] {
  const problems = [...lost];
  if (isInvisible(text)) problems.push("nothing to see");
  if (text.length > limits.units) problems.push(`${text.length} units`);
  if (Buffer.byteLength(part.html) > limits.bytes) problems.push("too many bytes");
  if (!text.isWellFormed()) problems.push("a surrogate pair is cut");
  if (shown(escaped(part.text)).text !== text) problems.push("the plain text differs");
  return problems;
}

/** What is wrong with the messages of a text; throws when Telegram would refuse one. */
function problems(markdown: string, parts: Part[], limits: Limits = TELEGRAM_LIMITS): string[] {
  const styled = render(markdown);
  const whole = shown(toHtml(styled.text, styled.marks, 0, styled.text.length), Number.MAX_VALUE);
  const texts = parts.map(({ html }) => shown(html));
  const places = placed(
    whole.text,
    texts.map(({ text }) => text),
  );
  const found = parts.flatMap((part, index) => problemsOf(part, texts[index] ?? whole, limits));
  if (!places) return [...whole.lost, ...found, "the parts are not the whole"];
  const wholeLooks = looks(whole);
  const alike = texts.every((text, index) => looksAlike(text, wholeLooks, places[index] ?? 0));
  return [...whole.lost, ...found, ...(alike ? [] : ["a part looks different"])];
}

/** A quarter of the proof each: one alone can be run by its name. */
const PIECES = isFullProof ? [1, 2, 3, 4] : [1];

test.each(PIECES)(
  "piece %i: random Markdown becomes messages that Telegram takes as they are, and that together show the whole text",
  () => {
    const size = proofSize(2000, 25_000);
    const cases = fc.oneof({ weight: 19, arbitrary: small }, { weight: 1, arbitrary: large });
    fc.assert(
      fc.property(cases, ({ markdown, limits, resume }) => {
        const options = limits ? { limits } : {};
        const parts = plan(markdown, options);
        expect(problems(markdown, parts, limits)).toEqual([]);
        const from = parts[resume]?.to ?? 0;
        const rest = plan(markdown, { ...options, from }).map(({ html }) => html);
        expect(rest).toEqual(parts.slice(from && resume + 1).map(({ html }) => html));
      }),
      { numRuns: size, seed: proofSeed() },
    );
  },
  3_600_000,
);
