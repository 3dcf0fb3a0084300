import type { Writable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { printable } from "../chat/printable.ts";

/** Where a program's output goes: bytes as they are, or, on a terminal, with every control character made visible. */
export class OutputWriter {
  readonly #target: Writable;
  readonly #clean: boolean;
  readonly #decoder = new StringDecoder("utf8");
  /** A carriage return that may belong to a newline in the next chunk. */
  #held = "";
  #draining: Promise<void> | undefined;

  constructor(target: Writable & { isTTY?: boolean }, raw: boolean) {
    this.#target = target;
    this.#clean = target.isTTY === true && !raw;
    // A reader that has gone (`| head`) is the reader's choice.
    target.on("error", () => undefined);
  }

  /** False = wait for `drained`. */
  write(bytes: Buffer): boolean {
    if (!this.#clean) return this.#target.write(bytes);
    const text = this.#held + this.#decoder.write(bytes);
    this.#held = text.endsWith("\r") ? "\r" : "";
    return this.#target.write(printable(this.#held ? text.slice(0, -1) : text));
  }

  drained(): Promise<void> {
    if (!this.#target.writableNeedDrain) return Promise.resolve();
    // Chunks that were on their way come after the first one that found no room.
    this.#draining ??= this.#drain().finally(() => {
      this.#draining = undefined;
    });
    return this.#draining;
  }

  #drain(): Promise<void> {
    const target = this.#target;
    return new Promise((resolve) => {
      const done = () => {
        for (const event of ["drain", "error", "close"]) target.off(event, done);
        resolve();
      };
      for (const event of ["drain", "error", "close"]) target.once(event, done);
    });
  }

  /** Writes what is left; resolves when everything has left the process. */
  end(): Promise<void> {
    const rest = this.#clean ? printable(this.#held + this.#decoder.end()) : "";
    return new Promise((resolve) => this.#target.write(rest, () => resolve()));
  }
}
