import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { LineCutter, type LogStream } from "./log-lines.ts";
import { Wake } from "./wake.ts";

/** A file that grew to this is set aside as `<run>.log.1`; the one before it goes. */
export const MAX_LOG_BYTES = 10 * 1024 * 1024;

/** The output of one run of a container: `<folder>/<run>.log`. */
export class LogFile {
  readonly path: string;
  /** Set off after each write and at the end. */
  readonly changed = new Wake();
  /** Grows with each write. */
  version = 0;
  /** No more will be written. */
  ended = false;
  #handle: FileHandle;
  #bytes: number;
  /** Bytes that could not be written since the last write that could. */
  #lostBytes = 0;
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string, handle: FileHandle, bytes: number) {
    this.path = path;
    this.#handle = handle;
    this.#bytes = bytes;
  }

  /** Continues run `run`'s file; of earlier runs only the one before is kept. */
  static async open(folder: string, run: number): Promise<LogFile> {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    for (const name of await readdir(folder)) {
      if (Number.parseInt(name, 10) < run - 1) await rm(join(folder, name), { force: true });
    }
    const path = join(folder, `${run}.log`);
    const handle = await open(path, "a", 0o600);
    return new LogFile(path, handle, (await stat(path)).size);
  }

  /**
   * Copies a stream until it ends; a slow disk slows the writer down instead of filling memory. What a full disk does
   * not take is dropped and counted in the log, never the container's problem.
   */
  async copy(stream: Readable, name: LogStream): Promise<void> {
    const cutter = new LineCutter(name);
    try {
      for await (const chunk of stream) {
        await this.#append(cutter.push(chunk as Buffer, new Date()));
      }
    } finally {
      await this.#append(cutter.end(new Date()));
    }
  }

  async close(): Promise<void> {
    await this.#writing;
    this.ended = true;
    await this.#handle.close();
    this.changed.fire();
  }

  #append(lines: Buffer): Promise<void> {
    if (lines.length === 0) return Promise.resolve();
    this.#writing = this.#writing.then(() =>
      this.#write(lines).catch(() => {
        this.#lostBytes += lines.length;
      }),
    );
    return this.#writing;
  }

  async #write(lines: Buffer): Promise<void> {
    if (this.#bytes + lines.length > MAX_LOG_BYTES && this.#bytes > 0) await this.#rotate();
    const notice = `[${this.#lostBytes} bytes of output were lost: the log could not be written]\n`;
    const lost =
      this.#lostBytes > 0 ? [new LineCutter("stderr").push(Buffer.from(notice), new Date())] : [];
    const bytes = Buffer.concat([...lost, lines]);
    await this.#handle.appendFile(bytes);
    this.#lostBytes = 0;
    this.#bytes += bytes.length;
    this.version += 1;
    this.changed.fire();
  }

  async #rotate(): Promise<void> {
    await rename(this.path, `${this.path}.1`);
    const old = this.#handle;
    this.#handle = await open(this.path, "a", 0o600);
    this.#bytes = 0;
    await old.close();
  }
}
