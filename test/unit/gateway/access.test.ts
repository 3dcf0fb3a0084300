import { expect, test } from "vitest";
import {
  approve,
  bind,
  codeFrom,
  judge,
  migrateChat,
  remove,
  type Sender,
  sessionOf,
  unbind,
} from "#gateway/state/access.ts";
import {
  type Access,
  CODE_TTL_MS,
  MAX_PENDING_CODES,
  NO_ACCESS,
  PairingCode,
} from "#protocol/access.ts";

const allow = { owners: ["telegram:1"], members: ["telegram:2"] };
const from = (id: number, more: Partial<Sender> = {}): Sender => ({
  person: { id: `telegram:${id}`, name: `P${id}` },
  chat: `telegram:${id}`,
  isGroup: false,
  ...more,
});
const at = (now: number, code = `AAAAAAA${(now % 8) + 2}`) => ({ allow, code: () => code, now });
const judged = (access: Access, sender: Sender, now = 0) => judge(access, sender, at(now));

test("who is on the list may write, with the list's role", () => {
  expect(judged(NO_ACCESS, from(1)).answer).toEqual({
    state: "allowed",
    role: "owner",
    session: undefined,
  });
  expect(judged(NO_ACCESS, from(2)).answer).toMatchObject({ state: "allowed", role: "member" });
});

test("a stranger gets one code, the same again, and few strangers get one at all", () => {
  let access = NO_ACCESS;
  for (let id = 10; id < 10 + MAX_PENDING_CODES; id++) {
    const first = judged(access, from(id), id);
    expect(first.answer).toMatchObject({
      state: "pairing",
      code: { person: { id: `telegram:${id}` } },
    });
    access = first.document;
    expect(judged(access, from(id), id + 1)).toMatchObject({
      document: access,
      answer: first.answer,
    });
  }
  expect(judged(access, from(99), 100)).toEqual({
    document: access,
    answer: { state: "refused", reason: "stranger" },
  });
  const later = judged(access, from(99), 100 + CODE_TTL_MS);
  expect(later.answer).toMatchObject({ state: "pairing" });
  expect(later.document.codes).toHaveLength(1);
});

test("a confirmed code makes a person, once; a removed person is a stranger again", () => {
  const asked = judged(NO_ACCESS, from(10), 5).document;
  const code = asked.codes[0]?.code ?? "";
  expect(() => approve(asked, { code: "WRONGXXX", role: "member", now: 6 })).toThrow(
    "no pairing code",
  );
  expect(() => approve(asked, { code, role: "member", now: 5 + CODE_TTL_MS })).toThrow(
    "no pairing code",
  );
  const { document, answer } = approve(asked, { code: code.toLowerCase(), role: "member", now: 6 });
  expect(answer).toMatchObject({ id: "telegram:10", role: "member" });
  expect(judged(document, from(10)).answer).toMatchObject({ state: "allowed", role: "member" });
  expect(() => approve(document, { code, role: "owner", now: 7 })).toThrow("no pairing code");
  const gone = remove(document, "telegram:10");
  expect(gone.answer).toBe(true);
  expect(judged(gone.document, from(10)).answer).toMatchObject({ state: "pairing" });
});

test("a group speaks only after an owner bound it; then everybody in it, and nobody of it in private", () => {
  const group = { chat: "telegram:-100", isGroup: true };
  expect(judged(NO_ACCESS, from(2, group)).answer).toEqual({
    state: "refused",
    reason: "groupNotBound",
  });
  expect(judged(NO_ACCESS, from(1, group)).answer).toMatchObject({
    state: "allowed",
    role: "owner",
  });
  const bound = bind(NO_ACCESS, {
    chat: "telegram:-100",
    session: "team",
    by: "telegram:1",
    boundAt: 1,
  });
  expect(judged(bound, from(50, group)).answer).toEqual({
    state: "allowed",
    role: "member",
    session: "team",
  });
  expect(judged(bound, from(50)).answer).toMatchObject({ state: "pairing" });
  const moved = migrateChat(bound, "telegram:-100", "telegram:-200");
  expect(sessionOf(moved, "telegram:-200")).toBe("team");
  expect(sessionOf(moved, "telegram:-100")).toBeUndefined();
  expect(unbind(moved, "telegram:-100")).toBe(moved);
});

test("codes are of the alphabet that the document takes", () => {
  for (let byte = 0; byte < 256; byte++) {
    const code = codeFrom(new Uint8Array(8).fill(byte));
    expect(PairingCode.shape.code.safeParse(code).success).toBe(true);
  }
});
