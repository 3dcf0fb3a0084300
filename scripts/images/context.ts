import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { run } from "./run.ts";

export const ROOT = join(import.meta.dirname, "..", "..");
/** Bundles the program; of the development packages only it is needed. */
const BUNDLER = /^node_modules\/(esbuild|@esbuild\/[^/]+)$/;

/** Files and folders of this repository that the images are made of: what .dockerignore lets through. */
async function sources(): Promise<string[]> {
  const lines = (await readFile(join(ROOT, ".dockerignore"), "utf8")).split("\n");
  return lines.filter((line) => line.startsWith("!")).map((line) => line.slice(1));
}

/** Installed packages that a build needs, as the lockfile places them. */
async function packages(): Promise<string[]> {
  const lock = JSON.parse(await readFile(join(ROOT, "package-lock.json"), "utf8")) as {
    packages: Record<string, { dev?: boolean }>;
  };
  return Object.entries(lock.packages)
    .filter(([path, { dev }]) => path !== "" && (!dev || BUNDLER.test(path)))
    .map(([path]) => path)
    .filter((path) => existsSync(join(ROOT, path)));
}

/** Names what the images of this tree contain: the lockfile stands for the packages. */
export async function contentHash(...more: string[]): Promise<string> {
  const hash = createHash("sha256").update(JSON.stringify([process.arch, ...more]));
  for (const source of ["Dockerfile", ...(await sources())]) {
    for (const file of await filesUnder(source)) {
      hash.update(`\0${file}\0`);
      for await (const chunk of createReadStream(join(ROOT, file))) hash.update(chunk as Buffer);
    }
  }
  return hash.digest("hex").slice(0, 16);
}

async function filesUnder(path: string): Promise<string[]> {
  if ((await stat(join(ROOT, path))).isFile()) return [path];
  const entries = await readdir(join(ROOT, path), { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1))
    .sort();
}

/** Links where the file system lets us: the files are only read. */
async function copyTree(from: string, to: string): Promise<void> {
  const { code } = await run("cp", ["-al", from, to]);
  if (code !== 0) await run("cp", ["-a", "-T", from, to], { check: true });
}

/** Fills `folder` as the build context: what a `docker build` would send, and the installed packages. */
export async function writeContext(folder: string): Promise<void> {
  const paths = [...(await sources()), ...(await packages())];
  for (const path of paths) {
    await mkdir(join(folder, path, ".."), { recursive: true });
    await copyTree(join(ROOT, path), join(folder, path));
  }
  await mkdir(join(folder, "node_modules", ".bin"), { recursive: true });
  await cp(process.execPath, join(folder, "node_modules", ".bin", "node"));
}
