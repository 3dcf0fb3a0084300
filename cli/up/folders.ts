import { randomBytes } from "node:crypto";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { ArgusError, errorMessage, isErrno } from "#lib/errors.ts";
import type { DataFolder } from "../data-folder.ts";
import { closedFolder } from "./program.ts";

/**
 * Makes the folders. Secrets are for their owner alone; with users of their own, sessions may pass through the root
 * (not list it). Throws InvalidInput or Forbidden with what to do.
 */
export async function makeFolders(folder: DataFolder, ownUsers: boolean): Promise<void> {
  try {
    await mkdir(folder.root, { recursive: true, mode: ownUsers ? 0o711 : 0o700 });
    if (ownUsers) await chmod(folder.root, 0o711);
    for (const closed of [folder.logs, folder.state, dirname(folder.token)]) {
      await mkdir(closed, { recursive: true, mode: 0o700 });
      await chmod(closed, 0o700);
    }
  } catch (error) {
    if (!isErrno(error, "EACCES", "EPERM", "EROFS", "ENOTDIR", "EEXIST")) throw error;
    const message = `the data folder ${folder.root} cannot be used (${errorMessage(error)}): choose another with --data or ARGUS_DATA`;
    throw new ArgusError("Forbidden", message);
  }
  const closed = ownUsers ? closedFolder(folder.root) : undefined;
  if (!closed) return;
  throw new ArgusError(
    "InvalidInput",
    `sessions run as users of their own and cannot enter ${closed}: \`chmod o+x ${closed}\`, or choose another folder with --data`,
  );
}

/** The admin token: made once, then the same at every start. */
export async function adminToken(folder: DataFolder, given: string | undefined): Promise<string> {
  if (given) return given;
  const kept = (await readFile(folder.token, "utf8").catch(() => "")).trim();
  if (kept) return kept;
  const token = randomBytes(32).toString("base64url");
  await writeSecret(folder.token, `${token}\n`);
  return token;
}

/** For this user's eyes only, also when the file was there before with other rights. */
export async function writeSecret(path: string, text: string): Promise<void> {
  await writeFile(path, text, { mode: 0o600 });
  await chmod(path, 0o600);
}
