import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, mkdir, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { errorMessage, isErrno } from "#lib/errors.ts";

/** Files of the workspace that travel with a turn, in the order in which a turn shows them. */
export const CONTEXT_FILES = ["AGENTS.md", "SOUL.md", "USER.md", "HEARTBEAT.md"] as const;
export type ContextFile = (typeof CONTEXT_FILES)[number];

/** What is known of one file: its beginning, why it could not be read, or undefined = there is none. */
export type ContextEntry = { text: string; truncated: boolean } | { error: string } | undefined;

const MAX_BYTES = 64 * 1024;
const DEADLINE_MS = 1000;
const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;

/**
 * Makes the workspace and puts in what it lacks of the four files; what is there, be it a link, is left as it is.
 * Throws what the file system says.
 */
export async function seedWorkspace(workspace: string): Promise<void> {
  await mkdir(workspace, { recursive: true });
  for (const name of CONTEXT_FILES) {
    const text = await readFile(join(import.meta.dirname, "templates", name));
    await createFile(join(workspace, name), text);
  }
}

async function createFile(path: string, text: Buffer): Promise<void> {
  let file: FileHandle;
  try {
    file = await open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o644);
  } catch (error) {
    if (isErrno(error, "EEXIST", "ELOOP")) return;
    throw error;
  }
  try {
    await file.writeFile(text);
  } finally {
    await file.close();
  }
}

/**
 * The four files, at most 64 KiB of each. The agent owns the folder, so nothing in it is trusted: no links, regular
 * files only, and an answer after one second whatever the volume does. Never throws.
 */
export async function readContext(workspace: string): Promise<Record<ContextFile, ContextEntry>> {
  const entries = await Promise.all(
    CONTEXT_FILES.map(async (name) => [name, await readEntry(join(workspace, name))] as const),
  );
  return Object.fromEntries(entries) as Record<ContextFile, ContextEntry>;
}

/** SHA-256 (hex) of HEARTBEAT.md's first 64 KiB; undefined = there is none or it cannot be told. */
export async function heartbeatDigest(workspace: string): Promise<string | undefined> {
  const entry = await readEntry(join(workspace, "HEARTBEAT.md"));
  if (!entry || "error" in entry) return undefined;
  return createHash("sha256").update(entry.text).digest("hex");
}

async function readEntry(path: string): Promise<ContextEntry> {
  const late = new AbortController();
  const deadline = delay(DEADLINE_MS, undefined, { signal: late.signal }).then(
    () => ({ error: `not read within ${DEADLINE_MS} ms` }),
    () => undefined,
  );
  try {
    return await Promise.race([readRegularFile(path), deadline]);
  } catch (error) {
    return refusal(error);
  } finally {
    late.abort();
  }
}

function refusal(error: unknown): ContextEntry {
  if (isErrno(error, "ENOENT")) return undefined;
  if (isErrno(error, "ELOOP")) return { error: "is a link; links are not followed" };
  // A socket, or a device without a driver.
  if (isErrno(error, "ENXIO", "ENODEV")) return { error: "is not a regular file" };
  return { error: errorMessage(error) };
}

async function readRegularFile(path: string): Promise<ContextEntry> {
  // Without O_NONBLOCK opening a FIFO would wait for a writer, in one of few threads.
  const file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  try {
    if (!(await file.stat()).isFile()) return { error: "is not a regular file" };
    return await readBeginning(file);
  } finally {
    await file.close();
  }
}

async function readBeginning(file: FileHandle): Promise<{ text: string; truncated: boolean }> {
  const buffer = Buffer.alloc(MAX_BYTES + 1);
  let filled = 0;
  while (filled < buffer.length) {
    const { bytesRead } = await file.read(buffer, filled, buffer.length - filled, filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  const truncated = filled > MAX_BYTES;
  const decoder = new TextDecoder();
  // `stream`: a character that the bound cuts in two is left out instead of becoming a replacement mark.
  const text = decoder.decode(buffer.subarray(0, Math.min(filled, MAX_BYTES)), {
    stream: truncated,
  });
  return { text, truncated };
}
