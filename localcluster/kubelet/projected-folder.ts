import { chown, mkdir, readdir, readlink, rename, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isErrno } from "#lib/errors.ts";
import type { Owner } from "./identity.ts";
import type { VolumeFiles } from "./projection.ts";

const DATA = "..data";

/**
 * Makes `folder` show exactly these files. All of them change at one instant: each name is a link through `..data`,
 * which is replaced by a rename.
 */
export async function showFiles(folder: string, files: VolumeFiles, owner?: Owner): Promise<void> {
  await mkdir(folder, { recursive: true });
  if (owner) await chown(folder, owner.uid, owner.gid);
  const version = `..${Date.now().toString(36)}-${process.hrtime.bigint().toString(36)}`;
  for (const [path, { content, mode }] of files) {
    const file = join(folder, version, path);
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, content, { mode });
    if (owner) await chown(file, owner.uid, owner.gid);
  }
  await mkdir(join(folder, version), { recursive: true });
  const before = await readlink(join(folder, DATA)).catch(() => undefined);
  await symlink(version, join(folder, `${DATA}_tmp`));
  await rename(join(folder, `${DATA}_tmp`), join(folder, DATA));
  await linkNames(folder, files);
  if (before) await rm(join(folder, before), { recursive: true, force: true });
}

async function linkNames(folder: string, files: VolumeFiles): Promise<void> {
  const wanted = new Set([...files.keys()].map((path) => path.split("/")[0] ?? path));
  for (const name of wanted) {
    await symlink(join(DATA, name), join(folder, name)).catch((error: unknown) => {
      if (!isErrno(error, "EEXIST")) throw error;
    });
  }
  for (const name of await readdir(folder)) {
    if (!name.startsWith("..") && !wanted.has(name)) await rm(join(folder, name));
  }
}

/** Whether two sets of files are the same, so that nothing needs to be written. */
export function sameFiles(a: VolumeFiles | undefined, b: VolumeFiles): boolean {
  if (a?.size !== b.size) return false;
  return [...b].every(([path, { content, mode }]) => {
    const other = a.get(path);
    return other !== undefined && other.mode === mode && other.content.equals(content);
  });
}
