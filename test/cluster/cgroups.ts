import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isErrno } from "#lib/errors.ts";
import { eventually } from "#test/support/eventually.ts";
import { CGROUP } from "./node-files.ts";

const MOUNT = "/sys/fs/cgroup";
const SECOND_VERSION = existsSync(join(MOUNT, "cgroup.controllers"));
const REMOVE_MS = 10_000;

/** Makes the group under which the kubelet puts its pods: one folder, or with cgroup v1 one for each controller. */
export async function makeCgroups(): Promise<void> {
  if (SECOND_VERSION) return makeUnified();
  for (const hierarchy of await hierarchies()) {
    const group = join(hierarchy, CGROUP);
    await mkdir(group, { recursive: true });
    // A new cpuset has neither cpus nor memory, and nothing could run in it.
    for (const name of ["cpuset.cpus", "cpuset.mems"]) {
      if (existsSync(join(group, name))) await copy(join(hierarchy, name), join(group, name));
    }
  }
}

async function makeUnified(): Promise<void> {
  const controllers = (await readFile(join(MOUNT, "cgroup.controllers"), "utf8")).trim();
  const all = controllers.split(" ").map((name) => `+${name}`);
  await writeFile(join(MOUNT, "cgroup.subtree_control"), all.join(" "));
  await mkdir(join(MOUNT, CGROUP), { recursive: true });
  await writeFile(join(MOUNT, CGROUP, "cgroup.subtree_control"), all.join(" "));
}

const copy = async (from: string, to: string) => writeFile(to, await readFile(from, "utf8"));

async function hierarchies(): Promise<string[]> {
  const names = await readdir(MOUNT);
  return names
    .map((name) => join(MOUNT, name))
    .filter((path) => existsSync(join(path, "cgroup.procs")));
}

/** The folders of the group that are there. */
export async function remainingCgroups(): Promise<string[]> {
  const roots = SECOND_VERSION ? [MOUNT] : await hierarchies();
  return roots.map((root) => join(root, CGROUP)).filter((group) => existsSync(group));
}

/** Removes the group and what is in it; its processes must have ended. */
export async function removeCgroups(): Promise<void> {
  for (const group of await remainingCgroups()) {
    // The kernel lets go of a group a moment after its last process.
    await eventually(`${group} is removed`, () => remove(group), REMOVE_MS);
  }
}

async function remove(group: string): Promise<boolean> {
  for (const entry of await readdir(group, { withFileTypes: true })) {
    if (entry.isDirectory()) await remove(join(group, entry.name));
  }
  try {
    await rmdir(group);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
  return true;
}
