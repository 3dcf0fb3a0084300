import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import packageJson from "#package" with { type: "json" };
import { type Archives, buildImages } from "../../scripts/images/build.ts";
import { IMAGES, type ImageName } from "../../scripts/images/recipe.ts";
import { imageCache } from "../../scripts/images.ts";
import type { Cluster } from "../cluster/cluster.ts";
import { runProgram } from "./run-program.ts";

/** Of this tree. */
export const VERSION = packageJson.version;

/** Archives of both images, built unless this tree's are there: some minutes the first time. Needs what docs/images.md names. */
export function builtImages(
  options: { version?: string; images?: readonly ImageName[] } = {},
): Promise<Archives> {
  const say = (line: string) => console.info(line);
  return buildImages({ cache: imageCache(), version: VERSION, ...options, say });
}

/**
 * Makes this tree's images known to the cluster and answers their names. Those that are in the cache are not built again. Where
 * KUBECONFIG names the cluster, they must be there already (docs/images.md says how).
 */
export async function provideImages(
  { own }: Cluster,
  { version = VERSION, images = IMAGES }: { version?: string; images?: readonly ImageName[] } = {},
): Promise<Record<ImageName, string>> {
  const names = {
    argus: `localhost/argus:${version}`,
    "argus-runtime": `localhost/argus-runtime:${version}`,
  };
  if (!own) return names;
  const archives = await builtImages({ version, images });
  for (const archive of images.map((image) => archives[image])) {
    const mark = join(own.folder, `imported-${basename(archive)}`);
    if (existsSync(mark)) continue;
    await own.importImages(archive);
    await writeFile(mark, "");
  }
  return names;
}

/** Why images cannot be built here, with what to do about it; undefined when they can. */
export async function whyNoImages(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return "building images without a container engine needs root";
  const both = ["-c", "command -v buildah && command -v mmdebstrap"];
  const { code } = await runProgram("sh", both);
  return code === 0 ? undefined : "apt-get install buildah mmdebstrap";
}

async function checked(program: string, args: string[]): Promise<void> {
  const { code, stderr } = await runProgram(program, args, { timeoutMs: 300_000 });
  if (code !== 0) throw new Error(`${program} ${args.join(" ")}: ${stderr}`);
}

interface Manifest {
  manifests: { digest: string }[];
  layers: { digest: string }[];
}

/** The file tree of an image in a new folder that any user may enter. */
export async function unpackImage(archive: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "argus-image-"));
  const blobs = join(folder, "oci");
  const rootfs = join(folder, "rootfs");
  await mkdir(blobs);
  await mkdir(rootfs);
  await checked("tar", ["-C", blobs, "-xf", archive]);
  const blob = ({ digest }: { digest: string }) =>
    join(blobs, "blobs", "sha256", digest.replace("sha256:", ""));
  const read = async (path: string) => JSON.parse(await readFile(path, "utf8")) as Manifest;
  const [first] = (await read(join(blobs, "index.json"))).manifests;
  if (!first) throw new Error(`${archive} holds no image`);
  for (const layer of (await read(blob(first))).layers)
    await checked("tar", ["-C", rootfs, "--numeric-owner", "-xpf", blob(layer)]);
  await rm(blobs, { recursive: true });
  await checked("chmod", ["0755", folder]);
  return rootfs;
}

export const removeImage = (rootfs: string) =>
  rm(join(rootfs, ".."), { recursive: true, force: true });
