import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { heartbeatDigest, readContext, seedWorkspace } from "#runtime/workspace.ts";

let root: string;
let workspace: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "argus-workspace-"));
  workspace = join(root, "deep", "workspace");
});
afterEach(() => rm(root, { recursive: true, force: true }));

test("seeds a new workspace with four files whose heartbeat has nothing to do", async () => {
  await seedWorkspace(workspace);
  const context = await readContext(workspace);
  for (const entry of Object.values(context)) {
    expect(entry).toMatchObject({ truncated: false, text: expect.stringMatching(/^# /) });
  }
  const heartbeat = await readFile(join(workspace, "HEARTBEAT.md"), "utf8");
  expect(
    heartbeat
      .replace(/<!--.*?-->/gs, "")
      .replace(/^#.*$/gm, "")
      .trim(),
  ).toBe("");
});

test("never overwrites, writes through no link and fills in only what is missing", async () => {
  await mkdir(workspace, { recursive: true });
  await writeFile(join(workspace, "SOUL.md"), "mine");
  await symlink(join(root, "outside"), join(workspace, "USER.md"));
  await seedWorkspace(workspace);
  await seedWorkspace(workspace);
  expect(await readFile(join(workspace, "SOUL.md"), "utf8")).toBe("mine");
  await expect(readFile(join(root, "outside"))).rejects.toThrow(/ENOENT/);
  expect(await readFile(join(workspace, "AGENTS.md"), "utf8")).toContain("AGENTS.md");
});

test("reads regular files only and says why another one is not read", async () => {
  await mkdir(workspace, { recursive: true });
  await writeFile(join(root, "secret"), "outside");
  await symlink(join(root, "secret"), join(workspace, "AGENTS.md"));
  execFileSync("mkfifo", [join(workspace, "SOUL.md")]);
  await mkdir(join(workspace, "USER.md"));
  expect(await readContext(workspace)).toEqual({
    "AGENTS.md": { error: "is a link; links are not followed" },
    "SOUL.md": { error: "is not a regular file" },
    "USER.md": { error: "is not a regular file" },
    "HEARTBEAT.md": undefined,
  });
});

test("a long file is cut at 64 KiB, never inside a character", async () => {
  await mkdir(workspace, { recursive: true });
  await writeFile(join(workspace, "AGENTS.md"), `${"x".repeat(65535)}é and more`);
  await writeFile(join(workspace, "SOUL.md"), "y".repeat(65536));
  const context = await readContext(workspace);
  expect(context["AGENTS.md"]).toEqual({ text: "x".repeat(65535), truncated: true });
  expect(context["SOUL.md"]).toEqual({ text: "y".repeat(65536), truncated: false });
});

test("the heartbeat's digest follows its content and is absent without a file", async () => {
  expect(await heartbeatDigest(workspace)).toBeUndefined();
  await seedWorkspace(workspace);
  await writeFile(join(workspace, "HEARTBEAT.md"), "- water the plants\n");
  const digest = createHash("sha256").update("- water the plants\n").digest("hex");
  expect(await heartbeatDigest(workspace)).toBe(digest);
});
