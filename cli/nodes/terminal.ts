import { setTimeout as delay } from "node:timers/promises";
import { NodeAnswer } from "#protocol/node-methods.ts";
import { type Typing, typed } from "./escape.ts";
import type { GatewayLink } from "./link.ts";
import { rawMode } from "./raw-mode.ts";

/** Typed while the device cannot be asked; then the keyboard is not read. */
const MAX_AHEAD_BYTES = 64 * 1024;
const RETRY_MS = 500;
/** What programs leave behind that did not end by themselves: other screen, hidden cursor, mouse and paste reports, colours. */
const RESET =
  "\u001b[?1049l\u001b[?25h\u001b[?1000l\u001b[?1002l\u001b[?1003l\u001b[?1006l\u001b[?2004l\u001b[0m\r\n";

/** The program that the keyboard belongs to. */
interface Remote {
  link: GatewayLink;
  node: string;
  jobId: string;
}

/**
 * The person's terminal while it belongs to a program on a device: raw, so that every key goes there. What was typed is sent by its
 * offset, so that no key is lost or doubled over lost connections.
 */
export class LocalTerminal {
  readonly #input = process.stdin;
  readonly #output = process.stdout;
  #remote: Remote | undefined;
  #typing: Typing = "line";
  /** Typed, and not known to have arrived. */
  #ahead = Buffer.alloc(0);
  /** Of the first byte of `#ahead` in the program's stdin. */
  #offset = 0;
  #isEnded = false;
  #isPumping = false;
  #leave: () => void = () => undefined;
  /** Resolves when the person asked to leave the program. */
  readonly left = new Promise<void>((resolve) => {
    this.#leave = resolve;
  });
  #restore: () => void = () => undefined;
  readonly #onData = (bytes: Buffer) => this.#take(bytes);
  readonly #onEnd = () => {
    this.#isEnded = true;
    this.#pump();
  };
  readonly #onResize = () => void this.#resize();

  get size(): { cols: number; rows: number } {
    const { columns, rows } = this.#output;
    return { cols: columns || 80, rows: rows || 24 };
  }

  begin(): void {
    if (this.#input.isTTY) this.#restore = rawMode(this.#input);
    process.on("exit", this.#restore);
    this.#input.on("data", this.#onData);
    this.#input.once("end", this.#onEnd);
    this.#output.on("resize", this.#onResize);
  }

  /** The terminal is the person's again; `isClean`: the program has ended and put it in order itself. */
  end(isClean: boolean): void {
    this.#remote = undefined;
    this.#restore();
    process.off("exit", this.#restore);
    this.#restore = () => undefined;
    this.#input.off("data", this.#onData);
    this.#input.off("end", this.#onEnd);
    this.#output.off("resize", this.#onResize);
    this.#input.pause();
    if (!isClean && this.#output.isTTY) this.#output.write(RESET);
  }

  /** From now on what is typed goes there. */
  attach(remote: Remote): void {
    this.#remote = remote;
    void this.#resize();
    this.#pump();
  }

  detach(): void {
    this.#remote = undefined;
  }

  #take(bytes: Buffer): void {
    const {
      state,
      bytes: kept,
      isLeaving,
    } = this.#input.isTTY
      ? typed(this.#typing, bytes)
      : { state: this.#typing, bytes, isLeaving: false };
    this.#typing = state;
    this.#ahead = Buffer.concat([this.#ahead, kept]);
    // Who cannot reach the program can still leave it: the keyboard is read on, what is typed into nothing is dropped.
    if (this.#ahead.length > MAX_AHEAD_BYTES && this.#input.isTTY)
      this.#ahead = this.#ahead.subarray(0, MAX_AHEAD_BYTES);
    else if (this.#ahead.length > MAX_AHEAD_BYTES) this.#input.pause();
    if (isLeaving) this.#leave();
    this.#pump();
  }

  #pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    void this.#send().finally(() => {
      this.#isPumping = false;
    });
  }

  async #send(): Promise<void> {
    for (let remote = this.#remote; remote; remote = this.#remote) {
      if (this.#ahead.length === 0 && !this.#isEnded) return;
      const bytes = this.#ahead.subarray(0, MAX_AHEAD_BYTES);
      const close = this.#isEnded && bytes.length === this.#ahead.length;
      const params = { dataBase64: bytes.toString("base64"), offset: this.#offset, close };
      const code = await this.#ask(remote, "process.write", params);
      if (code === undefined) {
        this.#offset += bytes.length;
        this.#ahead = this.#ahead.subarray(bytes.length);
        if (close) return;
        if (!this.#input.isTTY) this.#input.resume();
      } else if (FINAL.has(code)) return;
      else await delay(RETRY_MS);
    }
  }

  async #resize(): Promise<void> {
    if (this.#remote) await this.#ask(this.#remote, "process.resize", this.size);
  }

  /** The code of the refusal; undefined: done. */
  async #ask({ link, node, jobId }: Remote, command: string, more: object) {
    const call = { node, command, params: { jobId, ...more } };
    try {
      const answer = NodeAnswer.parse(await link.request("argus/node/invoke", call));
      return answer.ok ? undefined : (answer.error?.code ?? "");
    } catch {
      // The connection is gone: the next one attaches anew.
      if (this.#remote?.link === link) this.#remote = undefined;
      return "LOST";
    }
  }
}

/** The program takes nothing any more. */
const FINAL = new Set(["NOT_RUNNING", "NOT_FOUND", "DENIED", "TOO_LARGE", "BAD_INPUT"]);
