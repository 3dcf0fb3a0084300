import { join } from "node:path";
import { type IPty, spawn } from "@lydell/node-pty";
import { eventually } from "./eventually.ts";

const root = join(import.meta.dirname, "..", "..");

/** A person at a real terminal, with a program on it. */
export class Person {
  readonly #pty: IPty;
  output = "";
  readonly ended: Promise<{ exitCode: number; signal?: number }>;

  /** `args` of `./argus`, or with `program` of another one. */
  constructor(args: string[], { cols = 80, rows = 24, program = join(root, "argus") } = {}) {
    const { PATH = "", HOME = "/tmp" } = process.env;
    const env = { PATH, HOME, TERM: "xterm-256color" };
    this.#pty = spawn(program, args, { cols, rows, cwd: root, env });
    this.#pty.onData((text) => {
      this.output += text;
    });
    this.ended = new Promise((resolve) => this.#pty.onExit(resolve));
  }

  get pid(): number {
    return this.#pty.pid;
  }

  type(text: string): void {
    this.#pty.write(text);
  }

  resize(cols: number, rows: number): void {
    this.#pty.resize(cols, rows);
  }

  /** Waits until the terminal shows it. */
  async sees(what: string | RegExp, timeoutMs = 20_000): Promise<void> {
    const shown = () =>
      typeof what === "string" ? this.output.includes(what) : what.test(this.output);
    await eventually(`the terminal shows ${String(what)}`, shown, timeoutMs).catch(
      (error: Error) => {
        throw new Error(`${error.message}; it shows: ${JSON.stringify(this.output.slice(-2000))}`);
      },
    );
  }

  end(): void {
    try {
      this.#pty.kill("SIGKILL");
    } catch {
      // It has ended.
    }
  }
}
