import fc from "fast-check";
import { expect, test } from "vitest";
import { names, scanLine, scanMembers, splice, stringAt, valueAt } from "#lib/scan.ts";

/** Keys that provoke: the wanted ones, near misses, escapes, quotes. */
const key = fc.oneof(
  fc.constantFrom("id", "method", "params", "Id", "i", "metho", "", '"', "\\", 'a"id":1', "\u2028"),
  fc.string({ unit: "binary", maxLength: 40 }),
);
const value = fc.letrec((tie) => ({
  node: fc.oneof(
    { depthSize: "small" },
    fc.constantFrom(null, true, false, 0, -1.5e-7, 1e21, "", "\\", '\\"', "id"),
    fc.string({ unit: "binary", maxLength: 90 }),
    fc.array(tie("node"), { maxLength: 4 }),
    fc.dictionary(key, tie("node"), { maxKeys: 4 }),
  ),
})).node;
const space = fc.constantFrom("", "", " ", "\t", "\r", "  ");

/** Every character of a string as an escape: the same JSON string in other bytes. */
const escaped = (text: string) =>
  `"${[...Array(text.length).keys()].map((at) => `\\u${text.charCodeAt(at).toString(16).padStart(4, "0")}`).join("")}"`;

interface Sample {
  text: string;
  members: [string, unknown, string, boolean][];
}

/** The JSON text of an object with keys in any order, repeated, escaped, with space between tokens. */
const sample = fc
  .array(fc.tuple(key, value, space, fc.boolean()), { maxLength: 8 })
  .map((members): Sample => {
    const parts = members.map(([name, item, blank, escape]) => {
      const keyText = escape ? escaped(name) : JSON.stringify(name);
      return `${blank}${keyText}${blank}:${blank}${JSON.stringify(item)}${blank}`;
    });
    return { text: `{${parts.join(",")}}`, members };
  });

/** The last member of that name, each value parsed by itself: V8 sometimes keeps the first of repeated, escaped keys. */
const own = ({ members }: Sample, name: string): unknown => {
  const last = members.findLast(([key]) => key === name);
  return last && JSON.parse(JSON.stringify(last[1]));
};

test("a scan finds the same id, method and params as JSON.parse, whatever the order, escapes and repetitions", () => {
  fc.assert(
    fc.property(sample, space, space, (object, before, after) => {
      const line = Buffer.from(`${before}${object.text}${after}\n`);
      const scan = scanLine(line);
      expect(scan).toBeDefined();
      expect(valueAt(line, scan?.id)).toEqual(own(object, "id"));
      expect(valueAt(line, scan?.method)).toEqual(own(object, "method"));
      expect(valueAt(line, scan?.params)).toEqual(own(object, "params"));
      expect(line[scan?.open ?? -1]).toBe(0x7b);
    }),
    { numRuns: 2000 },
  );
});

test("members of a nested object are found like those of the line", () => {
  fc.assert(
    fc.property(sample, (object) => {
      const line = Buffer.from(`{"method":"m","params":${object.text}}\n`);
      const params = scanLine(line)?.params;
      const [id, inner] = scanMembers(line, params?.start ?? -1, names("id", "params"));
      expect(valueAt(line, id)).toEqual(own(object, "id"));
      expect(valueAt(line, inner)).toEqual(own(object, "params"));
    }),
  );
});

test("a spliced id changes the id and nothing else", () => {
  fc.assert(
    fc.property(sample, fc.integer({ min: 0 }), ({ text }, id) => {
      const line = Buffer.from(`${text}\n`);
      const range = scanLine(line)?.id;
      if (!range) return;
      const spliced = splice(line, range, Buffer.from(String(id)));
      expect(valueAt(spliced, scanLine(spliced)?.id)).toBe(id);
      const tail = spliced.subarray(range.start + String(id).length);
      expect(spliced.subarray(0, range.start)).toEqual(line.subarray(0, range.start));
      expect(tail).toEqual(line.subarray(range.end));
    }),
  );
});

test.each([
  "",
  "\n",
  "hello",
  "[1]",
  '"id"',
  "{",
  '{"id"',
  '{"id":',
  '{"id":}',
  '{"id":1',
  '{"id":1,}',
  '{"id":1]',
  '{"id" 1}',
  "{id:1}",
  '{"id":"x}',
  '{"id":1}{"id":2}',
  '{"id":1} x',
  '{"a":{"b":1}',
  '{"a":"\\"}',
  "\u00a0{}",
])("not one object: %j", (text) => {
  expect(scanLine(Buffer.from(text))).toBeUndefined();
});

test("strings are read with and without escapes; other values are no strings", () => {
  const line = Buffer.from('{"id":"p\\u00e4\\n","method":"über","params":7}');
  const scan = scanLine(line);
  expect(stringAt(line, scan?.id)).toBe("pä\n");
  expect(stringAt(line, scan?.method)).toBe("über");
  expect(stringAt(line, scan?.params)).toBeUndefined();
  expect(stringAt(line, undefined)).toBeUndefined();
});

test("quotes behind runs of backslashes end a long string only when their number is even", () => {
  for (let slashes = 0; slashes < 6; slashes += 1) {
    const text = JSON.stringify({
      a: `${"x".repeat(40)}${"\\".repeat(slashes)}"tail`,
      id: slashes,
    });
    const line = Buffer.from(text);
    expect(valueAt(line, scanLine(line)?.id)).toBe(slashes);
  }
});
