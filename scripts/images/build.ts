import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  statfs,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import { contentHash, ROOT, writeContext } from "./context.ts";
import { packArchive } from "./oci-archive.ts";
import { type Base, baseOf, IMAGES, type ImageName } from "./recipe.ts";
import { run } from "./run.ts";

const KEPT_MS = 24 * 60 * 60 * 1000;

export interface BuildOptions {
  /** Kept between builds: bases and archives, each named after what it contains. */
  cache: string;
  /** Tag, and the version that the program calls itself. */
  version: string;
  /** Default: both. */
  images?: readonly ImageName[];
  say: (line: string) => void;
}

/** OCI archives that hold `localhost/argus:<version>` and `localhost/argus-runtime:<version>`. */
export type Archives = Record<ImageName, string>;

/**
 * Builds the Dockerfile without a registry and without a container engine: buildah on a base of Debian packages. What is in
 * the cache is not built again. Needs root, buildah, mmdebstrap; throws with what is missing.
 */
export async function buildImages(options: BuildOptions): Promise<Archives> {
  const { cache, version, images = IMAGES, say } = options;
  const bases = await Promise.all(IMAGES.map(baseOf));
  const hash = await contentHash(version, JSON.stringify(bases));
  const archives = Object.fromEntries(
    IMAGES.map((image) => [image, join(cache, `${image}-${version}-${hash}.tar`)]),
  ) as Archives;
  const missing = images.filter((image) => !existsSync(archives[image]));
  if (missing.length === 0) return archives;
  await needs("buildah", "mmdebstrap");
  await mkdir(cache, { recursive: true });
  const work = await mkdtemp(join(cache, "work-"));
  try {
    await writeContext(join(work, "context"));
    for (const image of missing) {
      say(`building ${image} ${version}`);
      await buildImage({ image, version, cache, work, archive: archives[image] });
    }
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return archives;
}

async function needs(...programs: string[]): Promise<void> {
  if (process.getuid?.() !== 0) throw new Error("building images without a registry needs root");
  for (const program of programs) {
    const { code } = await run("sh", ["-c", `command -v ${program}`]);
    if (code !== 0) throw new Error(`${program} is missing: apt-get install ${program}`);
  }
}

interface Step {
  image: ImageName;
  version: string;
  cache: string;
  /** Everything of this build; removed at its end. */
  work: string;
  archive: string;
}

async function buildImage({ image, version, cache, work, archive }: Step): Promise<void> {
  const base = await makeBase(await baseOf(image), cache);
  const baseContext = join(work, "base");
  await mkdir(baseContext, { recursive: true });
  const baseName = `localhost/base-${image}`;
  const from = ["build", "--isolation", "chroot", "--timestamp", "0"];
  await writeFile(join(baseContext, "Dockerfile"), "FROM scratch\nADD base.tar /\n");
  await run("ln", ["-f", base, join(baseContext, "base.tar")], { check: true });
  await buildah(work, [...from, "-t", baseName, baseContext]);
  const name = `localhost/${image}:${version}`;
  const args = ["--build-arg", `BASE=${baseName}`, "--build-arg", `VERSION=${version}`];
  const file = ["-f", join(ROOT, "Dockerfile"), "--target", image];
  const context = join(work, "context");
  await buildah(work, [...from, "--pull=never", ...args, ...file, "-t", name, context]);
  const pushed = join(work, `pushed-${image}`);
  await buildah(work, ["push", "-D", "--format", "oci", name, `dir:${pushed}`]);
  const fresh = join(work, `${image}.tar`);
  await packArchive(pushed, name, fresh);
  await forgetOld(cache);
  await rename(fresh, archive);
}

/** Archives that were made more than a day ago, of older trees: other checkouts may use the younger ones. */
async function forgetOld(cache: string): Promise<void> {
  for (const name of await readdir(cache)) {
    const path = join(cache, name);
    const made = await stat(path).catch(() => undefined);
    const old = made && Date.now() - made.mtimeMs > KEPT_MS;
    if (old && /^argus.*-[0-9a-f]{16}\.tar$/.test(name)) await rm(path, { force: true });
  }
}

const OVERLAYFS = 0x794c7630;

/** One overlay cannot stand on another, as in a container; copies of whole trees work everywhere. */
async function storageDriver(folder: string): Promise<string> {
  const { type } = await statfs(folder);
  const known = await readFile("/proc/filesystems", "utf8").catch(() => "");
  return type !== OVERLAYFS && known.includes("\toverlay\n") ? "overlay" : "vfs";
}

/** Its own storage: nothing of the machine's is read or changed. */
async function buildah(work: string, args: string[]): Promise<void> {
  const storage = ["--root", join(work, "storage"), "--runroot", join(work, "run")];
  const env = { STORAGE_DRIVER: await storageDriver(work) };
  await run("buildah", [...storage, ...args], { env, check: true });
}

/** A tar of a Debian system with these packages, made once. */
async function makeBase({ suite, packages }: Base, cache: string): Promise<string> {
  const left = ["man", "doc", "locale", "info"].map((name) => `path-exclude=/usr/share/${name}/*`);
  const options = left.map((option) => `--dpkgopt=${option}`);
  const args = ["--variant=minbase", ...options, `--include=${packages.join(",")}`, suite];
  const name = createHash("sha256").update(JSON.stringify(args)).digest("hex").slice(0, 16);
  const path = join(cache, `base-${name}.tar`);
  if (existsSync(path)) return path;
  const fresh = `${path}.${process.pid}.tar`;
  await run("mmdebstrap", [...args, fresh], { check: true });
  await rename(fresh, path);
  return path;
}
