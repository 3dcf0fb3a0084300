import { constants } from "node:fs";
import {
  chmod,
  copyFile,
  link,
  lstat,
  mkdir,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { z } from "zod";

/** The files that a session's process runs from. */
export interface Program {
  /** Folder that holds `cli/` and `node_modules/`. */
  root: string;
  node: string;
  /** The native Codex binary; undefined = not installed. */
  codex: string | undefined;
}

/** What a session's process imports; the rest of the checkout stays where it is. */
const SOURCES = ["cli", "runtime", "cluster", "crds", "protocol", "lib", "package.json"];
const MARKER = ".complete";

const LockFile = z.object({
  packages: z.record(z.string(), z.object({ dev: z.boolean().optional() })),
});

/**
 * A copy of the program under `target` that every user can read. Files are linked where the file system allows it,
 * so it costs little; packages are copied again only when the lockfile changed.
 */
export async function mirrorProgram(installed: Program, target: string): Promise<Program> {
  await mkdir(target, { recursive: true, mode: 0o755 });
  for (const name of SOURCES) {
    await rm(join(target, name), { recursive: true, force: true });
    await mirror(join(installed.root, name), join(target, name));
  }
  await mirrorPackages(installed, target);
  const node = join(target, "node");
  await rm(node, { force: true });
  await mirror(installed.node, node);
  const codex = installed.codex && join(target, relative(installed.root, installed.codex));
  return { root: target, node, codex };
}

async function mirrorPackages({ root }: Program, target: string): Promise<void> {
  const lock = await readFile(join(root, "package-lock.json"), "utf8");
  const marker = join(target, "node_modules", MARKER);
  if ((await readFile(marker, "utf8").catch(() => "")) === lock) return;
  await rm(join(target, "node_modules"), { recursive: true, force: true });
  const { packages } = LockFile.parse(JSON.parse(lock));
  const wanted = Object.entries(packages).filter(
    ([path, { dev }]) => path && !dev && !isNested(path),
  );
  for (const [path] of wanted)
    await mirror(join(root, path), join(target, path)).catch(ignoreMissing);
  await writeFile(marker, lock);
}

/** A package inside another one comes with it. */
const isNested = (path: string) => path.split("node_modules/").length > 2;

/** An optional package of another platform is not installed. */
function ignoreMissing(error: unknown): void {
  if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
}

async function mirror(from: string, to: string): Promise<void> {
  const stat = await lstat(from);
  if (stat.isDirectory()) {
    await mkdir(to, { recursive: true, mode: 0o755 });
    for (const name of await readdir(from)) await mirror(join(from, name), join(to, name));
  } else if (stat.isSymbolicLink()) {
    await symlink(await readlink(from), to);
  } else if (stat.isFile()) {
    await mkdir(dirname(to), { recursive: true, mode: 0o755 });
    await mirrorFile(from, to, stat.mode);
  }
}

const ALL_READ = 0o444;

async function mirrorFile(from: string, to: string, mode: number): Promise<void> {
  // A link shares the mode: only a file that all may read can be linked.
  const linked =
    (mode & ALL_READ) === ALL_READ &&
    (await link(from, to).then(
      () => true,
      () => false,
    ));
  if (linked) return;
  await copyFile(from, to, constants.COPYFILE_FICLONE);
  await chmod(to, mode & 0o111 ? 0o755 : 0o644);
}
