import { randomUUID } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, lstat, open, opendir, realpath, rename, rm } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, normalize, relative, sep } from "node:path";
import type { z } from "zod";
import { isErrno } from "#lib/errors.ts";
import type { FileList, FileRead, FileWrite } from "#protocol/node-commands.ts";
import { NodeError } from "./node-error.ts";
import { within } from "./policy.ts";

export const MAX_LISTED = 2000;
const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants;

/** Files beneath the allowed roots. Links are never followed beneath a root, so no path leads out of one. */
export class Files {
  readonly #roots: string[];

  constructor(roots: string[]) {
    this.#roots = roots;
  }

  async read({ path, offset, maxBytes }: z.output<typeof FileRead>) {
    return this.#inFolder(path, async (folder, name) => {
      const file = await open(join(folder, name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      try {
        const info = await file.stat();
        if (!info.isFile()) throw new NodeError("BAD_INPUT", `${path} is no regular file`);
        const buffer = Buffer.alloc(Math.max(0, Math.min(maxBytes, info.size - offset)));
        const { bytesRead } = await file.read(buffer, 0, buffer.length, offset);
        const dataBase64 = buffer.subarray(0, bytesRead).toString("base64");
        return { path, dataBase64, bytes: bytesRead, size: info.size };
      } finally {
        await file.close();
      }
    });
  }

  async write({ path, dataBase64, createOnly }: z.output<typeof FileWrite>) {
    const bytes = Buffer.from(dataBase64, "base64");
    return this.#inFolder(path, async (folder, name) => {
      const old = await lstat(join(folder, name)).catch(() => undefined);
      if (old && (createOnly || !old.isFile()))
        throw new NodeError("BAD_INPUT", `${path} exists${old.isFile() ? "" : " and is no file"}`);
      const temporary = join(folder, `.${randomUUID()}.tmp`);
      const flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
      const file = await open(temporary, flags, old ? old.mode & 0o777 : 0o644);
      try {
        await file.writeFile(bytes);
        await file.sync();
        await rename(temporary, join(folder, name));
      } catch (error) {
        await rm(temporary, { force: true });
        throw error;
      } finally {
        await file.close();
      }
      return { path, bytes: bytes.length };
    });
  }

  async list({ path }: z.output<typeof FileList>) {
    return this.#inFolder(join(path, "."), async (folder, name) => {
      const opened = await open(join(folder, name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      try {
        return { path, ...(await entries(pathOf(opened, join(folder, name)))) };
      } finally {
        await opened.close();
      }
    });
  }

  /** Opens the folder that holds `path` step by step from its root, and hands out a path that stays that folder. */
  async #inFolder<T>(path: string, act: (folder: string, name: string) => Promise<T>): Promise<T> {
    const { root, steps } = await this.#locate(path);
    const name = steps.pop() ?? ".";
    let folder = await open(root, O_RDONLY | O_DIRECTORY);
    try {
      let shown = root;
      for (const step of steps) {
        const next = join(pathOf(folder, shown), step);
        shown = join(shown, step);
        const opened = await open(next, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
        await folder.close();
        folder = opened;
      }
      return await act(pathOf(folder, shown), name);
    } catch (error) {
      throw refused(error, path);
    } finally {
      await folder.close();
    }
  }

  async #locate(path: string): Promise<{ root: string; steps: string[] }> {
    if (!isAbsolute(path) || path.includes("\0") || path.split(/[\\/]/).includes(".."))
      throw new NodeError("BAD_INPUT", "give an absolute path without ..");
    const wanted = normalize(path);
    for (const root of this.#roots) {
      if (within(root, wanted))
        return {
          root: await realpath(root),
          steps: relative(root, wanted).split(sep).filter(Boolean),
        };
    }
    throw new NodeError("DENIED", `${path} is outside of the folders that this device shares`);
  }
}

/** On Linux the open folder itself, whatever is renamed meanwhile; elsewhere its path. */
const pathOf = (folder: FileHandle, path: string) =>
  process.platform === "linux" ? `/proc/self/fd/${folder.fd}` : path;

async function entries(folder: string) {
  const found = [];
  let truncated = false;
  for await (const entry of await opendir(folder)) {
    if (found.length >= MAX_LISTED) {
      truncated = true;
      break;
    }
    const kind = entry.isFile()
      ? "file"
      : entry.isDirectory()
        ? "folder"
        : entry.isSymbolicLink()
          ? "link"
          : "other";
    const size = (await lstat(join(folder, entry.name)).catch(() => undefined))?.size ?? null;
    found.push({ name: entry.name, kind, size });
  }
  found.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { entries: found, truncated };
}

function refused(error: unknown, path: string): unknown {
  if (isErrno(error, "ENOENT")) return new NodeError("NOT_FOUND", `${path} does not exist`);
  if (isErrno(error, "ELOOP", "EMLINK"))
    return new NodeError("DENIED", `${basename(path)} or a folder of its path is a link`);
  if (isErrno(error, "ENOTDIR"))
    return new NodeError("DENIED", `${dirname(path)} has a link or a file among its folders`);
  if (isErrno(error, "EACCES", "EPERM", "ENOSPC", "EISDIR", "ENXIO", "EROFS"))
    return new NodeError("BAD_INPUT", `${path}: ${(error as Error).message.split(",")[0]}`);
  return error;
}
