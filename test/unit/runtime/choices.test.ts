import { expect, test } from "vitest";
import { Choices, MAX_CHOICES } from "#runtime/choices.ts";

test("what was put is there after a restart, the last change last; an equal choice writes nothing", () => {
  const choices = new Choices();
  const lines = [
    choices.put("a", { approvalPolicy: "untrusted" }),
    choices.put("b", { sandbox: "read-only" }),
    choices.put("a", { approvalPolicy: "on-request", cwd: "/x" }),
  ];
  expect(choices.put("a", { cwd: "/x", approvalPolicy: "on-request" })).toBeUndefined();
  for (const text of [lines.join(""), choices.snapshot()]) {
    const next = new Choices();
    expect(next.load(`${text}{"thread":"c","cho`)).toBe(1);
    expect(next.snapshot()).toBe(choices.snapshot());
    expect(next.get("a")).toEqual({ cwd: "/x", approvalPolicy: "on-request" });
  }
});

test("a value that is too large is kept as its kind, which is never less strict", () => {
  const choices = new Choices();
  const writableRoots = Array.from({ length: 2000 }, (_, index) => `/root-${index}`);
  const sandboxPolicy = { type: "workspaceWrite", networkAccess: true, writableRoots };
  choices.put("a", { cwd: "x".repeat(5000), approvalPolicy: "untrusted", sandboxPolicy });
  expect(choices.get("a")).toEqual({
    approvalPolicy: "untrusted",
    sandboxPolicy: { type: "workspaceWrite" },
  });
});

test("the oldest leave first, also what was read", () => {
  const choices = new Choices();
  const lines = Array.from({ length: MAX_CHOICES + 5 }, (_, index) =>
    choices.put(`t${index}`, { cwd: "/x" }),
  );
  expect(choices.get("t4")).toBeUndefined();
  expect(choices.get("t5")).toEqual({ cwd: "/x" });
  const next = new Choices();
  next.load(lines.join(""));
  next.expire();
  expect(next.snapshot()).toBe(choices.snapshot());
});
