import { createHash, randomBytes } from "node:crypto";
import { badRequest } from "./answers.ts";
import type { Upload } from "./params.ts";

export interface StoredFile extends Upload {
  id: string;
  uniqueId: string;
  /** Known once getFile was asked. */
  path: string;
}

/** What a bot may download, and send as a photo. */
export const MAX_DOWNLOAD_BYTES = 20 * 1024 * 1024;
export const MAX_UPLOAD_BYTES = 50 * 1024 * 1024;
export const MAX_PHOTO_BYTES = 10 * 1024 * 1024;

/** Files that people or the bot have sent. */
export class Files {
  readonly #byId = new Map<string, StoredFile>();
  readonly #byPath = new Map<string, StoredFile>();

  add(upload: Upload, folder: string): StoredFile {
    const id = `BQACAgIAAx${randomBytes(18).toString("base64url")}`;
    const uniqueId = createHash("sha256").update(upload.bytes).digest("base64url").slice(0, 16);
    const ending = /\.\w{1,8}$/.exec(upload.name)?.[0] ?? "";
    const path = `${folder}/file_${this.#byId.size}${ending}`;
    const file = { ...upload, id, uniqueId, path };
    this.#byId.set(id, file);
    return file;
  }

  /** The file that a bot names to send it again or to download it. */
  find(id: string): StoredFile {
    const file = this.#byId.get(id);
    if (file) return file;
    throw badRequest("wrong file identifier/HTTP URL specified");
  }

  /** Answer of getFile; from then on the file can be downloaded. */
  open(id: string): Record<string, unknown> {
    const file = this.#byId.get(id);
    if (!file) throw badRequest("invalid file_id");
    if (file.bytes.length > MAX_DOWNLOAD_BYTES) throw badRequest("file is too big");
    this.#byPath.set(file.path, file);
    return { ...this.json(file), file_path: file.path };
  }

  download(path: string): StoredFile | undefined {
    return this.#byPath.get(path);
  }

  json(file: StoredFile): Record<string, unknown> {
    return { file_id: file.id, file_unique_id: file.uniqueId, file_size: file.bytes.length };
  }
}

/** Whether the bytes begin as those of an image that Telegram takes as a photo. */
export function isImage(bytes: Buffer): boolean {
  const head = bytes.subarray(0, 12).toString("latin1");
  return /^(?:\x89PNG|\xff\xd8\xff|GIF8|BM|RIFF[^]{4}WEBP)/.test(head);
}
