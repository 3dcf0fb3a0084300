import { expect, test } from "vitest";
import { MAX_FILES, withoutMedia } from "#bot/format/media.ts";

test("MEDIA lines are taken out of the text, outside of code, each file once", () => {
  const cases: [markdown: string, text: string, files: string[]][] = [
    ["Here:\nMEDIA: ./a.png\nbye", "Here:\nbye", ["./a.png"]],
    [
      'MEDIA: "my chart.png"\n- MEDIA: `b.ogg`\nMEDIA: b.ogg',
      "📎 `my chart.png`\n📎 `b.ogg`",
      ["my chart.png", "b.ogg"],
    ],
    ["```\nMEDIA: a.png\n```", "```\nMEDIA: a.png\n```", []],
    ["~~~~\n~~~\nMEDIA: a.png\n~~~~\nMEDIA: c.png", "~~~~\n~~~\nMEDIA: a.png\n~~~~", ["c.png"]],
    ["MEDIA: https://example.org/a.png", "MEDIA: https://example.org/a.png", []],
    [
      "x\nMEDIA: https://example.org/a.png\nMEDIA: b.pdf",
      "x\nhttps://example.org/a.png",
      ["b.pdf"],
    ],
    ["say MEDIA: no.png", "say MEDIA: no.png", []],
    ["MEDIA:", "MEDIA:", []],
    ["x  \n\n", "x  \n\n", []],
  ];
  for (const [markdown, text, files] of cases) {
    expect(withoutMedia(markdown), markdown).toEqual({ text, files });
  }
});

test("more files than may go at once are named", () => {
  const names = Array.from({ length: MAX_FILES + 2 }, (_, index) => `f${index}.txt`);
  const { text, files } = withoutMedia(`all\n${names.map((name) => `MEDIA: ${name}`).join("\n")}`);
  expect(files).toEqual(names.slice(0, MAX_FILES));
  expect(text).toBe("all\n\nNot sent, too many at once: `f5.txt`, `f6.txt`");
});
