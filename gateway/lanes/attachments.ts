import { z } from "zod";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import { RPC_ERROR } from "#protocol/envelope.ts";
import type { Attachment, LaneInput } from "#protocol/lane-entry.ts";
import {
  BRIDGE_FILE,
  MAX_FILE_IN_BYTES,
  PutFileResult,
  StatFileResult,
  TranscribeResult,
} from "#protocol/workspace-files.ts";
import type { FileDesk } from "../channels/file-desk.ts";
import { type Link, Refused } from "./lane-peer.ts";

/** Sound files of one message that are listened to. */
const MAX_HEARD = 4;

/** What a sound file says, or in words why nobody knows. */
export type Heard = { text: string; cut: boolean } | { unheard: string };
/** A message's file in the workspace, or in words why it is not there. `heard`: of a sound file where a command listens. */
export type Brought = Pick<Attachment, "kind" | "name" | "mimeType"> &
  ({ path: string; heard?: Heard } | { error: string });

/**
 * Brings the message's files into the workspace, each once: what is there already stays. A file that cannot be had is told
 * to the agent. Throws `Unavailable` when the bridge is lost: the turn is tried again.
 */
export async function bringAttachments(
  { id, source, attachments = [] }: LaneInput,
  link: Link,
  files: Pick<FileDesk, "fetch">,
): Promise<Brought[]> {
  const all: Brought[] = [];
  let isSilent = false;
  for (const [index, attachment] of attachments.entries()) {
    const { kind, name, mimeType } = attachment;
    const about = { kind, name, ...(mimeType === undefined ? {} : { mimeType }) };
    const path = `inbox/${id}/${index + 1}-${fileName(name)}`;
    const wanted = source && { ...source, fileId: attachment.fileId };
    // A channel that gave nothing for so long is not waited for once more.
    const came: Came =
      wanted && !isSilent
        ? await bring({ path, wanted, bytes: attachment.bytes ?? 0 }, link, files)
        : { error: wanted ? "its channel does not answer" : "it came from no channel" };
    isSilent ||= "isSilent" in came;
    all.push({ ...about, ...("path" in came ? { path: came.path } : { error: came.error }) });
  }
  return all;
}

type Came = { path: string } | { error: string; isSilent?: boolean };

interface Wanted {
  path: string;
  wanted: Parameters<FileDesk["fetch"]>[0];
  bytes: number;
}

async function bring(
  { path, wanted, bytes }: Wanted,
  link: Link,
  files: Pick<FileDesk, "fetch">,
): Promise<Came> {
  if (bytes > MAX_FILE_IN_BYTES) {
    return { error: `it is larger than ${MAX_FILE_IN_BYTES / (1024 * 1024)} MB` };
  }
  try {
    const stat = StatFileResult.parse(await link.request(BRIDGE_FILE.stat, { path }));
    if (stat.file) return { path: stat.file.path };
    let whole = "";
    await files.fetch(wanted, async (piece) => {
      const put = await link.request(BRIDGE_FILE.put, { path, ...piece });
      whole = PutFileResult.parse(put).path;
    });
    return { path: whole };
  } catch (error) {
    if (isLost(error, link)) throw error;
    const words = errorMessage(error).slice(0, 300);
    const isSilent = error instanceof ArgusError && error.code === "Timeout";
    return isSilent ? { error: words, isSilent } : { error: words };
  }
}

function isLost(error: unknown, link: Link): boolean {
  if (error instanceof Refused || error instanceof z.ZodError) return false;
  return link.isGone || (error instanceof ArgusError && error.code === "Unavailable");
}

/** Adds what is said in the sound files, where the session's owner configured a command that listens. Throws as {@link bringAttachments}. */
export async function listenTo(brought: readonly Brought[], link: Link): Promise<Brought[]> {
  const all: Brought[] = [];
  let count = 0;
  for (const file of brought) {
    const isSound = file.kind === "audio" && "path" in file;
    const heard = isSound && count < MAX_HEARD ? await listen(file.path, link) : undefined;
    if (isSound) count += 1;
    all.push(heard ? { ...file, heard } : file);
  }
  return all;
}

/** Undefined = nobody listens in this session. */
async function listen(path: string, link: Link): Promise<Heard | undefined> {
  try {
    const result = TranscribeResult.parse(await link.request(BRIDGE_FILE.transcribe, { path }));
    if (result.state === "none") return undefined;
    return result.state === "done" ? result : { unheard: result.reason };
  } catch (error) {
    if (isLost(error, link)) throw error;
    // A bridge of an older image does not know the question.
    const isUnknown = error instanceof Refused && error.code === RPC_ERROR.methodNotFound;
    return isUnknown ? undefined : { unheard: errorMessage(error).slice(0, 300) };
  }
}

/** A name that needs no quotes and hides nothing. Pure. */
export function fileName(name: string): string {
  const plain = name
    .normalize("NFKC")
    .replace(/[^\p{L}\p{N}._-]+/gu, "_")
    .replace(/^[._]+/, "");
  return plain.slice(-80) || "file";
}

/** What the agent reads about them, after the person's words; empty without files. Pure. */
export function attachmentWords(brought: readonly Brought[]): string {
  if (brought.length === 0) return "";
  const lines = brought.map((file) => {
    if ("path" in file) return `- ${file.kind}: ${file.path}${heardWords(file.heard)}`;
    const name = file.name.replace(/\s+/g, " ");
    return `- ${file.kind} "${name}" is not here: ${file.error}. Tell the user so.`;
  });
  return ["Files that came with the message:", ...lines].join("\n");
}

/** Each line is marked: what somebody says can neither open nor close one of our blocks. Pure. */
function heardWords(heard: Heard | undefined): string {
  if (!heard) return "";
  if ("unheard" in heard) {
    const reason = heard.unheard.replace(/\s+/g, " ");
    return `\n  It was not transcribed: ${reason}. Tell the user so.`;
  }
  const lines = heard.text.split(/\r\n|[\n\r\u2028\u2029]/).map((line) => `  > ${line}`);
  const rest = heard.cut ? ["  [… cut: the rest is in the file]"] : [];
  return [
    "\n  The user says in it (transcribed by a program, which may err):",
    ...lines,
    ...rest,
  ].join("\n");
}

/** What a model that sees takes as an image. */
const IMAGES = /\.(jpe?g|png|gif|webp)$/i;

/** Input items of a turn for its images. Pure. */
export function imageItems(brought: readonly Brought[]): { type: "localImage"; path: string }[] {
  return brought.flatMap((file) =>
    file.kind === "image" && "path" in file && IMAGES.test(file.path)
      ? [{ type: "localImage" as const, path: file.path }]
      : [],
  );
}
