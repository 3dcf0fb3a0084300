import fc from "fast-check";
import { expect, test } from "vitest";
import { commandOf } from "#cli/chat/commands.ts";
import { Items } from "#cli/chat/items.ts";
import { printable, printableLine } from "#cli/chat/printable.ts";
import { Transcript } from "#cli/chat/transcript.ts";

const isHarmless = (text: string) =>
  Array.from(text).every((character) => {
    const code = character.codePointAt(0) ?? 0;
    return (
      code === 9 || code === 10 || (code >= 32 && code !== 127 && !(code >= 128 && code <= 159))
    );
  });

test("no control character of an agent reaches the terminal", () => {
  const control = Array.from({ length: 0xa0 }, (_, code) => String.fromCodePoint(code));
  const nasty = fc.string({ unit: fc.oneof(fc.constantFrom(...control), fc.string()) });
  fc.assert(fc.property(nasty, (text) => isHarmless(printable(text))));
  expect(printable("\x1b]0;title\x07")).toBe("␛]0;title␇");
  expect(printable("a\u202eb")).toBe("a\ufffdb");
});

test("text, tabs, newlines and emoji stay as they are", () => {
  expect(printable("häß\t→\r\n👩‍💻")).toBe("häß\t→\n👩‍💻");
  expect(printableLine("a\n  b", 10)).toBe("a b");
  expect(printableLine("abcdefghij", 5)).toBe("abcd…");
});

test("streamed parts continue their line; other lines stand alone", () => {
  const transcript = new Transcript(false);
  const text = [
    transcript.render({ kind: "agent", text: "hel" }),
    transcript.render({ kind: "agent", text: "lo" }),
    transcript.render({ kind: "note", text: "exit 0" }),
    transcript.render({ kind: "agent", text: "bye\n" }),
    transcript.render({ kind: "agent", text: "\n" }),
  ].join("");
  expect(text).toBe("hello\n  · exit 0\nbye\n");
  expect(transcript.atLineStart).toBe(true);
});

test("colour codes come only from us and only where wanted", () => {
  expect(new Transcript(true).render({ kind: "error", text: "\x1b[2J" })).toBe(
    "\x1b[31m! ␛[2J\x1b[39m\n",
  );
  expect(new Transcript(false).render({ kind: "error", text: "x" })).toBe("! x\n");
});

test("a command is shown with its output and exit code", () => {
  const items = new Items(() => false);
  const item = { id: "c1", type: "commandExecution", command: "ls" };
  expect(items.show("item/started", { item })).toEqual([{ kind: "command", text: "ls" }]);
  const done = { ...item, status: "completed", exitCode: 2, aggregatedOutput: "no\n" };
  expect(items.show("item/completed", { item: done })).toEqual([
    { kind: "output", text: "no\n" },
    { kind: "note", text: "exit 2" },
  ]);
});

test("a message that was not streamed is shown whole, a streamed one once", () => {
  const items = new Items(() => false);
  const item = { id: "m1", type: "agentMessage", text: "whole" };
  expect(items.show("item/completed", { item })).toEqual([{ kind: "agent", text: "whole\n" }]);
  items.show("item/agentMessage/delta", { itemId: "m1", delta: "whole" });
  expect(items.show("item/completed", { item })).toEqual([{ kind: "agent", text: "\n" }]);
});

test("other clients' messages are shown, one's own are not", () => {
  const items = new Items((inputId) => inputId === "mine");
  const item = (clientId: string) => ({
    id: "u",
    type: "userMessage",
    clientId,
    content: [{ type: "text", text: "hi" }],
  });
  expect(items.show("item/completed", { item: item("mine") })).toEqual([]);
  expect(items.show("item/completed", { item: item("other") })).toEqual([
    { kind: "user", text: "hi" },
  ]);
});

test("garbage of any shape shows nothing and breaks nothing", () => {
  const items = new Items(() => false);
  const methods = ["item/started", "item/completed", "error", "warning", "item/agentMessage/delta"];
  fc.assert(
    fc.property(fc.constantFrom(...methods), fc.jsonValue(), (method, params) => {
      items.show(method, params);
    }),
  );
});

test("only a single word after a slash is a command", () => {
  expect(commandOf("/new")).toBe("newThread");
  expect(commandOf("/nope")).toBe("unknown");
  expect(commandOf("/etc/hosts is broken")).toBeUndefined();
});
