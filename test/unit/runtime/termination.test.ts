import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { TerminationMessage } from "#protocol/bridge.ts";
import { writeTermination } from "#runtime/termination.ts";

const folder = mkdtempSync(join(tmpdir(), "argus-termination-"));
const file = join(folder, "log");

test.each([
  ["short", "the disk is full"],
  ["of control characters", "\u0001".repeat(2048)],
  ["of wide characters", "é🎉".repeat(500)],
])("a message %s fits into what a kubelet reads and stays readable", (_, message) => {
  writeFileSync(file, "x".repeat(9000));
  writeTermination(file, { reason: "DiskFull", message, exitCode: 1 });
  const bytes = readFileSync(file);
  expect(bytes.length).toBeLessThanOrEqual(4096);
  const read = TerminationMessage.parse(JSON.parse(bytes.toString("utf8")));
  expect(read).toMatchObject({ reason: "DiskFull", exitCode: 1 });
  expect(message.startsWith(read.message.replace(/\ufffd$/, ""))).toBe(true);
});

test("a file that cannot be written harms nobody", () => {
  const message = { reason: "Stopped", message: "" } as const;
  expect(() => writeTermination(join(folder, "none", "log"), message)).not.toThrow();
  rmSync(folder, { recursive: true });
});
