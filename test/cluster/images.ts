import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

export const PAUSE_IMAGE = "localhost/pause:1";
/** A shell, the usual small tools and curl, for pods of tests. */
export const TOOLS_IMAGE = "localhost/tools:1";

export interface ImageOptions {
  /** With host and tag: `localhost/pause:1`. */
  name: string;
  /** Its file tree, as it is; all files become root's. */
  root: string;
  config: { Entrypoint?: string[]; Cmd?: string[]; Env?: string[]; User?: string };
  /** The OCI archive to write. */
  archive: string;
}

const ARCHITECTURES: Record<string, string> = { x64: "amd64", arm64: "arm64" };

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

/** Packs a folder as an OCI archive of one uncompressed layer, as `ctr images import` takes it. */
export async function writeImage({ name, root, config, archive }: ImageOptions): Promise<void> {
  const folder = await mkdtemp(`${archive}.`);
  const blobs = join(folder, "blobs", "sha256");
  await mkdir(blobs, { recursive: true });
  const layer = join(folder, "layer");
  const owner = ["--owner=0", "--group=0", "--numeric-owner", "--sort=name"];
  await run("tar", ["-C", root, ...owner, "-cf", layer, "."]);
  const digest = await sha256(layer);
  await rename(layer, join(blobs, digest));
  const blob = async (mediaType: string, content: object) => {
    const text = JSON.stringify(content);
    const hash = createHash("sha256").update(text).digest("hex");
    await writeFile(join(blobs, hash), text);
    return { mediaType, digest: `sha256:${hash}`, size: Buffer.byteLength(text) };
  };
  const type = (what: string) => `application/vnd.oci.image.${what}`;
  const configBlob = await blob(type("config.v1+json"), {
    architecture: ARCHITECTURES[process.arch] ?? process.arch,
    os: "linux",
    config,
    rootfs: { type: "layers", diff_ids: [`sha256:${digest}`] },
  });
  const { size } = await stat(join(blobs, digest));
  const manifest = await blob(type("manifest.v1+json"), {
    schemaVersion: 2,
    mediaType: type("manifest.v1+json"),
    config: configBlob,
    layers: [{ mediaType: type("layer.v1.tar"), digest: `sha256:${digest}`, size }],
  });
  const annotations = { "io.containerd.image.name": name };
  const index = { schemaVersion: 2, manifests: [{ ...manifest, annotations }] };
  await writeFile(join(folder, "index.json"), JSON.stringify(index));
  await writeFile(join(folder, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  await run("tar", ["-C", folder, "-cf", archive, "blobs", "index.json", "oci-layout"]);
  await rm(folder, { recursive: true });
}

/** A file tree of static busybox under all of its names, and curl with its libraries (static wget crashes on names). */
export async function writeToolsRoot(root: string): Promise<void> {
  for (const name of ["bin", "tmp", "etc"]) await mkdir(join(root, name), { recursive: true });
  await chmod(join(root, "tmp"), 0o1777);
  const busybox = join(root, "bin", "busybox");
  await copyFile(await pathOf("busybox", "busybox-static"), busybox);
  const { stdout } = await run(busybox, ["--list"]);
  const names = stdout.split("\n").filter((name) => name && name !== "busybox");
  await Promise.all(names.map((name) => symlink("busybox", join(root, "bin", name))));
  await writeFile(join(root, "etc", "passwd"), "root:x:0:0::/:/bin/sh\n");
  await addProgram(root, await pathOf("curl", "curl"));
}

/** Copies a program into `bin` and the libraries that it is linked with to where it looks for them. */
async function addProgram(root: string, path: string): Promise<void> {
  await copyFile(path, join(root, "bin", basename(path)));
  const { stdout } = await run("ldd", [path]);
  for (const [library] of stdout.matchAll(/\/\S+/g)) {
    await mkdir(join(root, dirname(library)), { recursive: true });
    await copyFile(library, join(root, library));
  }
}

async function pathOf(command: string, debianPackage: string): Promise<string> {
  const { stdout } = await run("sh", ["-c", `command -v ${command}`]).catch(() => ({ stdout: "" }));
  if (!stdout) throw new Error(`${command} is missing, install ${debianPackage}`);
  return stdout.trim();
}
