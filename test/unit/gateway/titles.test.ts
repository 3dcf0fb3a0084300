import { expect, test } from "vitest";
import { forgetSession, setTitle, titleOf } from "#gateway/state/titles.ts";
import { NO_ACCESS } from "#protocol/access.ts";
import { GatewayDocument, MAX_TITLES } from "#protocol/document.ts";

const binding = (chat: string, session: string) => ({ chat, session, by: "", boundAt: 1 });

test("a title is set, replaced and taken away", () => {
  const one = setTitle([], "u1", "Home");
  const two = setTitle(one, "u1", "Garden");
  expect([titleOf(one, "u1"), titleOf(two, "u1"), titleOf(two, "u2")]).toEqual([
    "Home",
    "Garden",
    undefined,
  ]);
  expect(setTitle(two, "u1", "")).toEqual([]);
  expect(setTitle(two, "u2", "")).toBe(two);
});

test("titles are bounded", () => {
  const full = Array.from({ length: MAX_TITLES }, (_, n) => ({ uid: `u${n}`, title: "x" }));
  expect(() => setTitle(full, "new", "y")).toThrow("take one away");
  expect(titleOf(setTitle(full, "u7", "y"), "u7")).toBe("y");
});

test("a deleted session leaves neither title nor chats to a successor of its name", () => {
  const document = GatewayDocument.parse({
    schemaVersion: 1,
    epoch: 1,
    keys: [],
    titles: [{ uid: "u1", title: "Home" }],
    access: { ...NO_ACCESS, bindings: [binding("tg:1", "a"), binding("tg:2", "b")] },
  });
  const after = forgetSession(document, { uid: "u1", name: "a" });
  expect(after.titles).toEqual([]);
  expect(after.access.bindings.map(({ chat }) => chat)).toEqual(["tg:2"]);
  expect(forgetSession(after, { uid: "u1", name: "a" })).toBe(after);
});
