import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "./run.ts";

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const DIGEST = /^[0-9a-f]{64}$/;

/**
 * Packs what `buildah push dir:` left in `folder` (which is used up) as an OCI archive that names its image as containerd and
 * container engines read it. The layers stay as they are: a push to an archive would compress them, most of a build's time.
 */
export async function packArchive(folder: string, name: string, archive: string): Promise<void> {
  const blobs = join(folder, "blobs", "sha256");
  await mkdir(blobs, { recursive: true });
  for (const file of await readdir(folder))
    if (DIGEST.test(file)) await rename(join(folder, file), join(blobs, file));
  const manifest = await readFile(join(folder, "manifest.json"));
  const digest = createHash("sha256").update(manifest).digest("hex");
  await writeFile(join(blobs, digest), manifest);
  const annotations = {
    "io.containerd.image.name": name,
    "org.opencontainers.image.ref.name": name,
  };
  const entry = {
    mediaType: MANIFEST,
    digest: `sha256:${digest}`,
    size: manifest.length,
    annotations,
  };
  const index = { schemaVersion: 2, manifests: [entry] };
  await writeFile(join(folder, "index.json"), JSON.stringify(index));
  await writeFile(join(folder, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  const parts = ["oci-layout", "index.json", "blobs"];
  await run("tar", ["-C", folder, "-cf", archive, ...parts], { check: true });
}
