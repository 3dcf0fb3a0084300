import { chmod, cp, mkdir, realpath, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { findCodex } from "#cli/up/program.ts";
import { bundle } from "../bundle.ts";
import { launcherText } from "./launcher.ts";
import { run } from "./run.ts";

const root = join(import.meta.dirname, "..", "..");
/** Of Codex's package; the rest is its voice. */
const CODEX_FILES = ["bin", "codex-path", "codex-resources/bwrap"];

/** Fills `folder` with what the images copy: `bin/` (launcher, Node), `argus/` (the bundle), `codex/`. */
async function assemble(folder: string, version: string): Promise<void> {
  await mkdir(join(folder, "bin"), { recursive: true });
  await bundle(join(folder, "argus"), version || undefined);
  await cp(await realpath(process.execPath), join(folder, "bin", "node"));
  await writeFile(join(folder, "bin", "argus"), launcherText());
  await chmod(join(folder, "bin", "argus"), 0o755);
  const codex = findCodex(root);
  if (!codex) throw new Error("the package of Codex for this platform is not installed: npm ci");
  for (const name of CODEX_FILES) {
    const to = join(folder, "codex", name);
    await mkdir(dirname(to), { recursive: true });
    await run("cp", ["-al", join(codex, "..", "..", name), to], { check: true });
  }
}

const [folder, version = ""] = process.argv.slice(2);
if (!folder) throw new Error("assemble.ts <folder> [version]");
await assemble(folder, version);
