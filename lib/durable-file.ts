import { mkdir, open, rename } from "node:fs/promises";
import { dirname, join } from "node:path";

/** Replaces a file at once and keeps it, its name and its folders over a power cut; only its owner may read it. */
export async function writeDurably(path: string, text: string): Promise<void> {
  const made = await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.new`;
  const file = await open(temporary, "w", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, path);
  for (const folder of changedFolders(path, made)) await syncFolder(folder);
}

/** The folders above too where they are missing; their names stay over a power cut. */
export async function makeFolderDurably(folder: string): Promise<void> {
  const made = await mkdir(folder, { recursive: true });
  if (made === undefined) return;
  for (const above of changedFolders(join(folder, "any"), made)) await syncFolder(above);
}

/** Those that got a name: the file's own, and the one above each that was made; `made` = the first of them. */
export function changedFolders(path: string, made: string | undefined): string[] {
  const folders = [dirname(path)];
  const top = made === undefined ? folders[0] : dirname(made);
  for (let last = dirname(path); last !== top && last !== dirname(last); ) {
    last = dirname(last);
    folders.push(last);
  }
  return folders;
}

/** What was created, renamed or removed in it stays so over a power cut. Windows cannot sync a folder: NTFS logs its names. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
