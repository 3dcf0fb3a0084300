import { closeSync, fstatSync, openSync, renameSync, writeSync } from "node:fs";

const MAX_BYTES = 8 * 1024 * 1024;
const TAIL_BYTES = 16 * 1024;

/** A log of at most twice `maxBytes`: a full one becomes `<path>.1`, the one before it goes. */
export class LogFile {
  readonly path: string;
  readonly #maxBytes: number;
  #fd: number;
  #bytes: number;
  #tail = "";

  constructor(path: string, maxBytes = MAX_BYTES) {
    this.path = path;
    this.#maxBytes = maxBytes;
    this.#fd = openSync(path, "a", 0o600);
    this.#bytes = fstatSync(this.#fd).size;
  }

  /** Synchronous, so that the last words of a dying process are in the file. */
  write(chunk: string | Buffer): void {
    const bytes = Buffer.from(chunk);
    if (this.#bytes + bytes.length > this.#maxBytes) this.#turn();
    this.#bytes += bytes.length;
    writeSync(this.#fd, bytes);
    this.#tail = (this.#tail + bytes.toString("utf8")).slice(-TAIL_BYTES);
  }

  /** The last lines written by this process. */
  lastLines(count: number): string[] {
    return this.#tail.trimEnd().split("\n").slice(-count);
  }

  close(): void {
    closeSync(this.#fd);
  }

  #turn(): void {
    closeSync(this.#fd);
    renameSync(this.path, `${this.path}.1`);
    this.#fd = openSync(this.path, "a", 0o600);
    this.#bytes = 0;
    this.#tail = "";
  }
}
