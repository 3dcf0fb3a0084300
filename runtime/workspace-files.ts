import { constants } from "node:fs";
import { type FileHandle, mkdir, open, realpath, rename, rm } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, normalize, relative, sep } from "node:path";
import { z } from "zod";
import { errorMessage, isErrno } from "#lib/errors.ts";
import { RPC_ERROR } from "#protocol/envelope.ts";
import {
  BRIDGE_FILE,
  CHUNK_BYTES,
  GetFileParams,
  type GetFileResult,
  MAX_FILE_IN_BYTES,
  MAX_FILE_OUT_BYTES,
  PutFileParams,
  StatFileParams,
  type StatFileResult,
} from "#protocol/workspace-files.ts";
import { RpcFailure } from "./rpc.ts";
import { readContext } from "./workspace.ts";

const { O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_TRUNC, O_WRONLY } = constants;

/**
 * Serves what is asked about the workspace; undefined = another method. The agent owns the folder: what is no regular file
 * beneath it is refused. `digest` is HEARTBEAT.md's.
 */
export function workspaceRequest(
  { workspace, digest }: { workspace: string; digest: string | undefined },
  method: string,
  params: unknown,
): Promise<unknown> | undefined {
  if (method === "bridge/context") return context(workspace, digest);
  if (method === BRIDGE_FILE.put) return said(() => putFile(workspace, params));
  if (method === BRIDGE_FILE.stat) return said(() => statFile(workspace, params));
  if (method === BRIDGE_FILE.get) return said(() => getFile(workspace, params));
  return undefined;
}

/** The whole path of the regular file that a request names by `path`. Throws a refusal in words. */
export function existingFile(
  workspace: string,
  shape: z.ZodType<{ path: string }>,
  params: unknown,
): Promise<string> {
  return said(() => {
    const { path } = shape.parse(params);
    return withExisting(workspace, path, async (file, real) => {
      await regular(file, path);
      return real;
    });
  });
}

async function context(workspace: string, heartbeatDigest: string | undefined) {
  return { files: await readContext(workspace), heartbeatDigest };
}

async function putFile(workspace: string, params: unknown) {
  const { path, offset, data, last } = PutFileParams.parse(params);
  const name = beneath(path);
  const folder = await madeFolder(workspace, dirname(name));
  const bytes = Buffer.from(data, "base64");
  const total = offset + bytes.length;
  if (total > MAX_FILE_IN_BYTES) throw refused(`${path} is larger than a file may be.`);
  const target = join(folder, basename(name));
  const part = join(folder, `.${basename(name).slice(0, 200)}.part`);
  const flags = O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | (offset === 0 ? O_TRUNC : 0);
  await withFile(part, flags, async (file) => {
    const { size } = await regular(file, path);
    if (size < offset)
      throw refused(`${path} has ${size} bytes so far, not ${offset}: begin anew.`);
    // A repeat of a piece writes the same again.
    await file.truncate(offset);
    await file.write(bytes, 0, bytes.length, offset);
    if (last) await file.sync();
  });
  if (last) await rename(part, target).catch((error: unknown) => given(part, error));
  return { path: join(folder, basename(name)), bytes: total };
}

/** The bytes that nobody can name are removed. */
async function given(part: string, error: unknown): Promise<never> {
  await rm(part, { force: true });
  throw error;
}

async function statFile(workspace: string, params: unknown): Promise<StatFileResult> {
  const { path } = StatFileParams.parse(params);
  try {
    return await withExisting(workspace, path, async (file, real) => {
      const { size, version } = await regular(file, path);
      return { file: { path: real, bytes: size, version } };
    });
  } catch (error) {
    if (isErrno(error, "ENOENT", "ENOTDIR")) return { file: null };
    throw error;
  }
}

async function getFile(workspace: string, params: unknown): Promise<GetFileResult> {
  const { path, offset } = GetFileParams.parse(params);
  return await withExisting(workspace, path, async (file) => {
    const { size, version } = await regular(file, path);
    if (size > MAX_FILE_OUT_BYTES) {
      throw refused(`${path} has ${size} bytes; at most ${MAX_FILE_OUT_BYTES} can be sent.`);
    }
    const buffer = Buffer.alloc(Math.max(0, Math.min(CHUNK_BYTES, size - offset)));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, offset);
    return { data: buffer.toString("base64", 0, bytesRead), bytes: size, version };
  });
}

async function withExisting<T>(
  workspace: string,
  path: string,
  use: (file: FileHandle, real: string) => Promise<T>,
): Promise<T> {
  const name = beneath(isAbsolute(path) ? relative(workspace, path) : path, path);
  const real = join(await realFolder(workspace, dirname(name)), basename(name));
  return await withFile(real, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, (file) => use(file, real));
}

/** The path in normal form; outside of the workspace there is none. */
function beneath(path: string, named = path): string {
  const name = normalize(path);
  const isInside = !isAbsolute(name) && name !== ".." && !name.startsWith(`..${sep}`);
  if (isInside && name !== "." && !name.endsWith(sep) && !name.includes("\0")) return name;
  throw refused(`${named} is no file in the workspace.`);
}

/** The folder, made where it is missing, also those above it; none of them through a link. */
async function madeFolder(workspace: string, folder: string): Promise<string> {
  let above = ".";
  for (const name of folder.split(sep).filter((each) => each !== ".")) {
    above = join(above, name);
    await mkdir(join(workspace, above)).catch((error: unknown) => {
      if (!isErrno(error, "EEXIST")) throw error;
    });
    await realFolder(workspace, above);
  }
  return await realFolder(workspace, folder);
}

/** The folder's real path, which must be the one that it has by its name: no link leads to it. */
async function realFolder(workspace: string, folder: string): Promise<string> {
  const root = await realpath(workspace);
  const named = join(root, folder);
  if ((await realpath(named)) === named) return named;
  throw refused(`${folder} leads over a link; links are not followed.`);
}

async function regular(file: FileHandle, path: string) {
  const stat = await file.stat();
  if (!stat.isFile()) throw refused(`${path} is not a regular file.`);
  const { size, ino, mtimeMs } = stat;
  return { size, version: `${ino}-${size}-${mtimeMs}` };
}

async function withFile<T>(
  path: string,
  flags: number,
  use: (file: FileHandle) => Promise<T>,
): Promise<T> {
  const file = await open(path, flags, 0o644);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

function refused(message: string): RpcFailure {
  return new RpcFailure({ code: RPC_ERROR.invalidParams, message });
}

/** The file system's words become a refusal's. */
async function said<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof RpcFailure) throw error;
    if (error instanceof z.ZodError) throw refused(error.issues[0]?.message ?? "not valid");
    throw refused(wordsOf(error));
  }
}

function wordsOf(error: unknown): string {
  if (isErrno(error, "ENOENT", "ENOTDIR")) return "There is no such file in the workspace.";
  if (isErrno(error, "ELOOP")) return "The file is a link; links are not followed.";
  if (isErrno(error, "ENXIO", "ENODEV", "EISDIR")) return "It is not a regular file.";
  if (isErrno(error, "ENOSPC", "EDQUOT")) return "The session's disk is full.";
  return errorMessage(error);
}
