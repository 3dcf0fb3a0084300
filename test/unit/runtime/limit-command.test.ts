import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { limitCommand } from "#runtime/limit-command.ts";

const command = [
  "/bin/sh",
  "-c",
  'cat /proc/self/limits; printf "%s|" "$@"',
  "sh",
  "a b",
  "$c",
  "",
];

test("without proof or limit the command stays as it is", () => {
  expect(limitCommand(command, { pids: 100, enforce: false })).toBe(command);
  expect(limitCommand(command, { pids: 0, enforce: true })).toBe(command);
});

/** The same script under each shell that may be a system's sh. */
const shells =
  process.platform === "linux"
    ? ["/bin/sh", "/bin/dash", "/bin/bash", "/bin/busybox"].filter(existsSync)
    : [];

test.each(shells)("%s sets soft and hard limit and passes the words on unchanged", (shell) => {
  const [, ...rest] = limitCommand(command, { pids: 321, enforce: true });
  const words = shell.endsWith("busybox") ? ["sh", ...rest] : rest;
  const { stdout, status } = spawnSync(shell, words, { encoding: "utf8" });
  expect(status).toBe(0);
  expect(stdout).toMatch(/^Max processes\s+321\s+321\s/m);
  expect(stdout.endsWith("a b|$c||")).toBe(true);
});

test.skipIf(process.platform !== "linux")("a limit that cannot be set starts nothing", () => {
  const words = limitCommand(["/bin/echo", "started"], { pids: 50, enforce: true });
  // Root may raise its limits again.
  const unprivileged = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
  const lowered = ["prlimit", "--nproc=20:20", ...words];
  const argv = process.getuid?.() === 0 ? [...unprivileged, ...lowered] : lowered;
  const { stdout, status } = spawnSync(argv[0] ?? "", argv.slice(1), { encoding: "utf8" });
  expect({ stdout, status }).toEqual({ stdout: "", status: 126 });
});
