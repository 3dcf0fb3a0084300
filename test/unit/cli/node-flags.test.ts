import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { FRUGAL, nodeFlags } from "#cli/node-flags.ts";
import { installBin, installedProgram } from "#cli/up/program.ts";

const run = promisify(execFile);

test("some commands run with flags, others with none", () => {
  for (const command of FRUGAL) expect(nodeFlags(command)).toEqual(["--max-semi-space-size=1"]);
  expect(nodeFlags("up")).toEqual([]);
});

test("the launcher of the checkout writes out the same flags", async () => {
  const text = await readFile(join(installedProgram().root, "argus"), "utf8");
  expect(text).toContain(`case \${1-} in ${FRUGAL.join(" | ")})`);
  expect(text).toContain(nodeFlags(FRUGAL[0]).join(" "));
});

test("the installed launcher starts each command with its flags and its words", async () => {
  const folder = await mkdtemp(join(tmpdir(), "argus-node-flags-"));
  try {
    const bin = join(folder, "bin");
    // `echo` in the place of Node shows what it would be started with.
    const program = { ...installedProgram(), node: "/bin/echo" };
    await installBin({ bin, program: folder } as Parameters<typeof installBin>[0], program, false);
    const started = async (...words: string[]) =>
      (await run(join(bin, "argus"), words)).stdout.trim().split(" ");
    const script = join(program.root, "cli", "argus.mjs");
    expect(await started("bridge", "x")).toEqual([...nodeFlags("bridge"), script, "bridge", "x"]);
    expect(await started("echo")).toEqual([script, "echo"]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
