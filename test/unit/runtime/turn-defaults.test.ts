import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { chooseTurnDefaults } from "#runtime/turn-defaults.ts";
import { codexBinary } from "../../fakes/codex.ts";

const root = mkdtempSync(join(tmpdir(), "argus-defaults-"));
afterAll(() => rmSync(root, { recursive: true }));

/** A folder for PATH that has a bwrap which ends with `exitCode`. */
function bwrap(folder: string, exitCode: number): string {
  mkdirSync(join(root, folder), { recursive: true });
  const file = join(root, folder, "bwrap");
  writeFileSync(file, `#!/bin/sh\nexit ${exitCode}\n`);
  chmodSync(file, 0o755);
  return join(root, folder);
}

/** A path of a Codex whose package brings a bwrap. */
function codexWith(folder: string, exitCode: number): string {
  bwrap(join(folder, "codex-resources"), exitCode);
  return join(root, folder, "bin", "codex");
}

const none = join(root, "none");
const choose = (more: { isolated?: boolean; codex?: string; path?: string }) =>
  chooseTurnDefaults({ approvals: "never", workspace: "/ws", isolated: false, ...more });

test.each(["never", "untrusted"] as const)(
  "in a container it is the sandbox: %s",
  async (approvals) => {
    const options = { approvals, workspace: "/ws", isolated: true, path: none };
    expect(await chooseTurnDefaults(options)).toEqual({
      cwd: "/ws",
      approvalPolicy: approvals,
      sandbox: "danger-full-access",
    });
  },
);

describe.skipIf(process.platform !== "linux")("outside of a container", () => {
  const sandboxed = { cwd: "/ws", approvalPolicy: "never", sandbox: "workspace-write" };
  const asking = {
    cwd: "/ws",
    approvalPolicy: "untrusted",
    sandbox: "read-only",
    warning: expect.stringContaining("apt-get install bubblewrap"),
  };

  test.each([
    ["a bwrap on PATH that works", { path: bwrap("works", 0) }, sandboxed],
    ["Codex's own when PATH has none", { path: none, codex: codexWith("own", 0) }, sandboxed],
    ["none at all", { path: none }, asking],
    ["none at all, and Codex brings none", { path: none, codex: "/nowhere/bin/codex" }, asking],
    [
      "one on PATH that fails, which Codex would take",
      { path: bwrap("fails", 1), codex: codexWith("own", 0) },
      asking,
    ],
    ["Codex's own that fails", { path: none, codex: codexWith("broken", 1) }, asking],
  ])("%s", async (_, options, expected) => {
    expect(await choose(options)).toEqual(expected);
  });

  const namespaces = ["--ro-bind", "/", "/", "--unshare-user", "--unshare-pid", "--unshare-net"];
  const works = spawnSync("bwrap", [...namespaces, "true"]).status === 0;

  test.skipIf(!works)("a real bwrap works, on PATH and as Codex's own", async () => {
    expect(await choose({})).toEqual(sandboxed);
    expect(await choose({ path: none, codex: codexBinary() })).toEqual(sandboxed);
  });
});

test.skipIf(process.platform !== "linux")(
  "without a sandbox the warning says that never does not hold, and only then",
  async () => {
    const options = { workspace: "/ws", isolated: false, path: "/nowhere" };
    const never = await chooseTurnDefaults({ ...options, approvals: "never" });
    const untrusted = await chooseTurnDefaults({ ...options, approvals: "untrusted" });
    expect(never.warning).toContain("spec.approvals is never");
    expect(untrusted.warning).not.toContain("never");
  },
);
