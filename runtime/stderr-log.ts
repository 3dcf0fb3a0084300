import { stripVTControlCharacters } from "node:util";
import { LineSplitter } from "#lib/lines.ts";
import type { Logger } from "#lib/logger.ts";

const MAX_LINE_BYTES = 8 * 1024;
const SHOWN_CHARS = 1000;
/** Lines of a window that are logged; the rest is counted. */
const LINES_PER_WINDOW = 50;
const WINDOW_MS = 10_000;

/** Passes a process's stderr to the log: bounded lines, a bounded number of them. */
export class StderrLog {
  readonly #logger: Logger;
  readonly #lines = new LineSplitter({ maxBytes: MAX_LINE_BYTES, onOverflow: "skip" });
  #windowStart = 0;
  #shown = 0;
  #hidden = 0;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  push(chunk: Buffer, now = Date.now()): void {
    const { lines, overflows } = this.#lines.push(chunk);
    if (now - this.#windowStart > WINDOW_MS) this.#newWindow(now);
    this.#hidden += overflows;
    for (const line of lines) {
      if (this.#shown >= LINES_PER_WINDOW) this.#hidden += 1;
      else this.#show(line);
    }
  }

  #show(line: Buffer): void {
    this.#shown += 1;
    const text = stripVTControlCharacters(line.toString("utf8")).trimEnd().slice(0, SHOWN_CHARS);
    if (text) this.#logger.warn({ line: text }, "app-server stderr");
  }

  #newWindow(now: number): void {
    if (this.#hidden > 0) this.#logger.warn({ lines: this.#hidden }, "app-server stderr not shown");
    this.#windowStart = now;
    this.#shown = 0;
    this.#hidden = 0;
  }
}
