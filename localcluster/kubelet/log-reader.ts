import { type FileHandle, open } from "node:fs/promises";
import { isErrno } from "#lib/errors.ts";

const NEWLINE = 10;
const CHUNK_BYTES = 256 * 1024;
const NOTHING: Buffer = Buffer.alloc(0);

/** Reads whole lines of a growing file, and goes on in the new one when the file was set aside. */
export class LogReader {
  readonly #path: string;
  #handle: FileHandle | undefined;
  #rest: Buffer = NOTHING;

  constructor(path: string) {
    this.#path = path;
  }

  /** The next whole lines, at most about 256 KiB; empty = nothing new yet. */
  async next(): Promise<Buffer> {
    this.#handle ??= await openIfThere(this.#path);
    const more = await this.#read();
    if (more.length > 0 || !(await this.#moveOn())) return more;
    return this.#read();
  }

  async close(): Promise<void> {
    await this.#handle?.close();
  }

  async #read(): Promise<Buffer> {
    for (;;) {
      const { bytesRead = 0, buffer } =
        (await this.#handle?.read(Buffer.alloc(CHUNK_BYTES), 0, CHUNK_BYTES)) ?? {};
      if (bytesRead === 0 || !buffer) return NOTHING;
      const bytes = Buffer.concat([this.#rest, buffer.subarray(0, bytesRead)]);
      const end = bytes.lastIndexOf(NEWLINE) + 1;
      this.#rest = bytes.subarray(end);
      if (end > 0) return bytes.subarray(0, end);
    }
  }

  /** Takes the new file once the path names another one than the open handle. */
  async #moveOn(): Promise<boolean> {
    const next = await openIfThere(this.#path);
    if (!next) return false;
    const same = (await this.#handle?.stat())?.ino === (await next.stat()).ino;
    await (same ? next : this.#handle)?.close();
    if (!same) this.#handle = next;
    return !same;
  }
}

async function openIfThere(path: string): Promise<FileHandle | undefined> {
  return open(path, "r").catch((error: unknown) => {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  });
}
