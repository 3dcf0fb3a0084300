import { spawnSync } from "node:child_process";
import { randomInt } from "node:crypto";
import { existsSync, readdirSync, statSync } from "node:fs";
import { expect, test } from "vitest";
import { limitCommand } from "#runtime/limit-command.ts";

const command = [
  "/bin/sh",
  "-c",
  'cat /proc/self/limits; echo "nice $(nice)"; printf "%s|" "$@"',
  "sh",
  "a b",
  "$c",
  "",
];

const noThrow = { throwIfNoEntry: false } as const;

test("without proof or limit the command stays as it is", () => {
  expect(limitCommand(command, { pids: 100, enforce: false })).toBe(command);
  expect(limitCommand(command, { pids: 0, enforce: true })).toBe(command);
});

test("with CPUs of its own it starts on them, with and without a limit of processes", () => {
  const placed = ["/usr/bin/taskset", "-c", "1,2", ...command];
  expect(limitCommand(command, { pids: 0, enforce: false, cpus: "1,2" })).toEqual(placed);
  const limited = limitCommand(command, { pids: 100, enforce: true, cpus: "1,2" });
  expect(limited.slice(-placed.length)).toEqual(placed);
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
  expect(stdout).toContain("nice 19\n");
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

const root = process.platform === "linux" && process.getuid?.() === 0;

test.skipIf(!root)("a uid's processes saturate at the limit and cannot raise it", () => {
  const script = `i=0; while [ $i -lt 60 ]; do sleep 60 >/dev/null 2>&1 & i=$((i+1)); done`;
  const raise = "prlimit --pid $$ --nproc=500:500 2>/dev/null && echo raised";
  const words = limitCommand(["/bin/sh", "-c", `${raise}; ${script}; echo forked`], {
    pids: 20,
    enforce: true,
  });
  // An id that nothing else on this machine has, a new one each time: zombies of the last run would count.
  const uid = randomInt(1_000_000, 2_000_000_000);
  const user = [`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups"];
  const { stdout, stderr } = spawnSync("setpriv", [...user, ...words], {
    encoding: "utf8",
    env: { PATH: "/usr/bin:/bin" },
  });
  const alive = processesOfUid(uid);
  for (const pid of alive) process.kill(pid, "SIGKILL");
  expect(stdout).toBe("");
  expect(stderr).toContain("fork");
  expect(alive.length).toBeGreaterThan(10);
  expect(alive.length).toBeLessThanOrEqual(20);
});

function processesOfUid(uid: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name) && statSync(`/proc/${name}`, noThrow)?.uid === uid)
    .map(Number);
}
