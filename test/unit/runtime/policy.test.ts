import fc from "fast-check";
import { expect, test } from "vitest";
import { type LineScan, scanLine } from "#lib/scan.ts";
import type { TurnDefaults } from "#protocol/bridge.ts";
import { Policy } from "#runtime/policy.ts";

const defaults: TurnDefaults = { cwd: "/w", approvalPolicy: "never", sandbox: "workspace-write" };
const scanOf = (line: Buffer): LineScan => scanLine(line) as LineScan;
const policy = () => new Policy(() => defaults);

function filled(
  text: string,
  sender: { method: string; role?: "client" | "lane"; threadId?: string },
  own = policy(),
): string {
  const line = Buffer.from(text);
  return own.fill(line, scanOf(line), { role: "client", ...sender }).toString();
}

test.each([
  ["thread/start", '{"id":1,"method":"thread/start","params":{}}', { ...defaults }],
  ["thread/start", '{"id":1,"method":"thread/start"}', { ...defaults }],
  ["thread/start", '{"id":1,"params": { } }', { ...defaults }],
  [
    "turn/start",
    '{"id":1,"params":{"threadId":"t","cwd":null}}',
    {
      threadId: "t",
      cwd: "/w",
      approvalPolicy: "never",
      sandboxPolicy: { type: "workspaceWrite" },
    },
  ],
  [
    "turn/start",
    '{"params":{"permissions":"p","cwd":"/x"}}',
    { permissions: "p", cwd: "/x", approvalPolicy: "never" },
  ],
])("%s: what is missing is filled: %s", (method, text, params) => {
  expect(JSON.parse(filled(text, { method })).params).toEqual(params);
});

test("nothing missing, or another method: the very same bytes", () => {
  const full = '{"params":{"cwd":"/x" , "approvalPolicy":"on-request","sandbox":"read-only"}}';
  expect(filled(full, { method: "thread/start" })).toBe(full);
  expect(filled('{"params":{}}', { method: "thread/fork" })).toBe('{"params":{}}');
  expect(filled('{"params":[1]}', { method: "turn/start" })).toBe('{"params":[1]}');
});

test("a lane's fields are ours even if it names them, wherever they stand", () => {
  const text =
    '{"params":{"sandbox":"danger-full-access","x":1,"cwd":"/x","approvalPolicy":"on-request"},"id":2}';
  expect(JSON.parse(filled(text, { method: "thread/start", role: "lane" }))).toEqual({
    id: 2,
    params: { x: 1, ...defaults },
  });
});

test("a client's choice for a thread holds for its later turns and for the bridge's own resume", async () => {
  const own = policy();
  await own.remember("t", { sandbox: "read-only", approvalPolicy: "on-request" });
  const turn = { method: "turn/start", threadId: "t" };
  expect(JSON.parse(filled('{"params":{}}', turn, own)).params).toEqual({
    cwd: "/w",
    approvalPolicy: "on-request",
    sandboxPolicy: { type: "readOnly" },
  });
  expect(own.resume("t")).toEqual({
    cwd: "/w",
    approvalPolicy: "on-request",
    sandbox: "read-only",
  });
  await own.remember("t", { sandboxPolicy: { type: "dangerFullAccess" } });
  expect(own.resume("t")).toMatchObject({
    sandbox: "danger-full-access",
    approvalPolicy: "on-request",
  });
  await own.remember("t", { permissions: "p" });
  expect(JSON.parse(filled('{"params":{}}', turn, own)).params).not.toHaveProperty("sandboxPolicy");
  expect(own.resume("t")).toMatchObject({ permissions: "p" });
  expect(own.resume("t")).not.toHaveProperty("sandbox");
});

test("unknown members survive untouched, whatever they are", () => {
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (extra) => {
      const text = JSON.stringify({
        method: "turn/start",
        params: { zzz: extra, threadId: "t" },
        id: 1,
      });
      const out = filled(text, { method: "turn/start" });
      expect(JSON.parse(out).params.zzz).toEqual(JSON.parse(JSON.stringify(extra)));
      expect(out.endsWith(text.slice(text.indexOf('"zzz"')))).toBe(true);
    }),
  );
});

test("a fork goes on with the choice of its origin; a choice that cannot be kept is told", async () => {
  const own = policy();
  await own.remember("t", { approvalPolicy: "untrusted" });
  await own.inherit("t", "fork");
  const line = filled('{"params":{}}', { method: "turn/start", threadId: "fork" }, own);
  expect(JSON.parse(line).params).toMatchObject({ approvalPolicy: "untrusted" });
  const full = new Policy(
    () => defaults,
    undefined,
    () => Promise.reject(new Error("disk full")),
  );
  await expect(full.remember("t", { cwd: "/x" })).rejects.toThrow("disk full");
});
