import fc from "fast-check";
import { expect, test } from "vitest";
import { intercept } from "#gateway/intercept.ts";
import { peek } from "#gateway/peek.ts";

/** A message where the relay sees it: in the middle of a buffer, a newline behind it. */
const look = (text: string) => {
  const before = '{"method":"argus/other"}\n';
  const buffer = Buffer.from(`${before}${text}\n"method":"bridge/after"}`);
  const start = Buffer.byteLength(before);
  return peek(buffer, start, start + Buffer.byteLength(text));
};

test.each([
  ['{"method":"argus/input/enqueue"}', "reserved"],
  ['{"id":1,"method":"bridge/hello","params":{}}', "reserved"],
  ['  { "params" : {"a":[1,{"b":"}\\""}]} , "method" : "argus/x" }', "reserved"],
  ['{"\\u006dethod":"argus/x"}', "reserved"],
  ['{"method":"\\u0061rgus/x"}', "reserved"],
  ['{"method":"argus\\/x"}', "reserved"],
  ['{"id":"\\\\","x":null,"y":-1.5e3,"method":"bridge/x"}', "reserved"],
  [`{"params":"${"x".repeat(200)}\\\\\\"","method":"argus/x"}`, "reserved"],
  ['{"method":"x","method":"bridge/context"}', "reserved"],
  ['{"method":"x","m\\u0065thod":"\\u0062ridge\\/context"}', "reserved"],
  [`{"method":"x","params":"${"y".repeat(1000)}","method":"argus/x"}`, "reserved"],
  ['{"method":"turn/start","params":{"cwd":"/root","method":"bridge/x"}}', "forward"],
  ['{"method":"thread/start"}', "forward"],
  ['{"method":"account/read"}', "forward"],
  ['{"params":{"method":"argus/x"}}', "forward"],
  ['{"id":5,"result":{"method":"argus/x"}}', "forward"],
  ['{"text":"\\"method\\":\\"argus/x\\""}', "forward"],
  ["{", "forward"],
  ['{"method"', "forward"],
  ['{"method":"argus/', "forward"],
  ["[1]", "noObject"],
  ["hello", "noObject"],
  ["", "noObject"],
  ["   ", "noObject"],
])("%s is %s", (text, seen) => {
  expect(look(text)).toBe(seen);
});

test("every JSON object is judged as a parser would judge its first method", () => {
  const method = fc.constantFrom("argus/a", "bridge/b", "thread/x", "aargus/", "initialize");
  const fields = fc.array(fc.tuple(fc.string(), fc.jsonValue()), { maxLength: 4 });
  fc.assert(
    fc.property(fields, method, fc.boolean(), fields, (before, name, spaced, after) => {
      const clean = [...before, ...after].filter(
        ([key]) => key !== "method" && key !== "__proto__",
      );
      const entries = [
        ...clean.slice(0, before.length),
        ["method", name] as const,
        ...clean.slice(before.length),
      ];
      const object = Object.fromEntries(entries);
      const text = JSON.stringify(object, null, spaced ? " " : "").replaceAll("\n", " ");
      const reserved = name.startsWith("argus/") || name.startsWith("bridge/");
      expect(look(text)).toBe(reserved ? "reserved" : "forward");
    }),
    { numRuns: 1000 },
  );
});

const answer = (text: string) => {
  const buffer = Buffer.from(`${text}\n`);
  const found = intercept(buffer, 0, buffer.length - 1);
  if (!found || "request" in found) return found;
  return found.answer ? (JSON.parse(found.answer) as unknown) : "";
};

test("what the gateway does not forward gets an answer of its own", () => {
  expect(answer('{"id":7,"method":"argus/input/enqueue","params":{"text":"hi"}}')).toEqual({
    request: { id: 7, method: "argus/input/enqueue", params: { text: "hi" } },
  });
  expect(answer('{"id":{"a":1},"method":"bridge/hello"}')).toEqual({
    request: { id: { a: 1 }, method: "bridge/hello", params: undefined },
  });
  expect(answer('{"method":"argus/x"}')).toBe("");
  expect(answer('{"id":null,"method":"argus/x"}')).toBe("");
  expect(answer('{"id":1,"method":"argus/x",}')).toMatchObject({
    id: null,
    error: { code: -32700 },
  });
  expect(answer("not JSON")).toMatchObject({ id: null, error: { code: -32700 } });
  expect(answer('{"id":1,"method":"turn/start"}')).toBeUndefined();
});
