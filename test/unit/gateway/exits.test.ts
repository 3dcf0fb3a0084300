import fc from "fast-check";
import { expect, test } from "vitest";
import { cut } from "#gateway/nodes/exits.ts";

test("the beginning of any text fits into so many bytes of JSON, and what fits is whole", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 600 }), (text) => {
      const left = cut(text, 512);
      expect(text.startsWith(left)).toBe(true);
      expect(Buffer.byteLength(JSON.stringify(left))).toBeLessThanOrEqual(512);
      if (Buffer.byteLength(JSON.stringify(text)) <= 512) expect(left).toBe(text);
    }),
  );
});
