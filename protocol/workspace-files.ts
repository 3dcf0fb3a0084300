import { z } from "zod";

// Files that travel between a channel and a session's workspace; bounds stand in docs/bounds.md.

/** A file that comes in: what Telegram lets a bot fetch. */
export const MAX_FILE_IN_BYTES = 20 * 1024 * 1024;
/** A file that goes out: what Telegram takes of a bot. */
export const MAX_FILE_OUT_BYTES = 50 * 1024 * 1024;
/** Bytes of a file in one message, before Base64. */
export const CHUNK_BYTES = 384 * 1024;
const MAX_CHUNK_TEXT = Math.ceil(CHUNK_BYTES / 3) * 4;

/** Relative to the workspace, with `/`. */
const WorkspacePath = z.string().min(1).max(1024);
const Chunk = z.base64().max(MAX_CHUNK_TEXT);

/** `bridge/file/put`: the bytes of a new file in order; it has its name from the last ones on. */
export const PutFileParams = z.object({
  path: WorkspacePath,
  /** Bytes that came before; 0 begins anew. */
  offset: z.int().min(0),
  data: Chunk,
  last: z.boolean(),
});
/** `path`: the whole path, as the agent names the file. */
export const PutFileResult = z.object({ path: z.string().max(4096), bytes: z.int() });

/** `bridge/file/stat`, of the file that a put would make or a get would read. */
export const StatFileParams = z.object({ path: WorkspacePath });
export const StatFileResult = z.object({
  /** Null = there is none. */
  file: z.object({ path: z.string().max(4096), bytes: z.int(), version: z.string() }).nullable(),
});
export type StatFileResult = z.infer<typeof StatFileResult>;

/** `bridge/file/get`: a piece of a file. `version` changes when the file does. */
export const GetFileParams = z.object({ path: WorkspacePath, offset: z.int().min(0) });
export const GetFileResult = z.object({
  data: Chunk,
  /** Of the whole file. */
  bytes: z.int(),
  version: z.string().max(128),
});
export type GetFileResult = z.infer<typeof GetFileResult>;

/** Characters of a transcript; the rest is cut off. */
export const MAX_TRANSCRIPT = 16 * 1024;

/** `bridge/file/transcribe`: what is said in a sound file, by the command that the session's owner configured. */
export const TranscribeParams = z.object({ path: WorkspacePath });
export const TranscribeResult = z.discriminatedUnion("state", [
  /** No command is configured. */
  z.object({ state: z.literal("none") }),
  z.object({ state: z.literal("done"), text: z.string().max(MAX_TRANSCRIPT), cut: z.boolean() }),
  z.object({ state: z.literal("failed"), reason: z.string().max(MAX_TRANSCRIPT) }),
]);
export type TranscribeResult = z.infer<typeof TranscribeResult>;

export const BRIDGE_FILE = {
  put: "bridge/file/put",
  stat: "bridge/file/stat",
  get: "bridge/file/get",
  transcribe: "bridge/file/transcribe",
} as const;
