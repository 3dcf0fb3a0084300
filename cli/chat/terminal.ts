import { createInterface, type Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { printable, printableLine } from "./printable.ts";
import type { Approval, Shown } from "./shown.ts";
import { Transcript } from "./transcript.ts";

export interface Terminal {
  show(shown: Shown): void;
  ask(question: Approval | undefined): void;
  /** Draws the prompt when nothing is being written. */
  prompt(): void;
  close(): void;
}

export interface TerminalOptions {
  input: Readable;
  output: Writable;
  /** Without a person: everything but the agent's words. */
  notes: Writable;
  /** A person sits there: prompt, colours, Ctrl-C by key. */
  interactive: boolean;
  onLine: (line: string) => void;
  onInterrupt: () => void;
  onEnd: () => void;
}

const PROMPT = "› ";
const QUESTION = "  y(es) n(o) a(lways) › ";

/** The person's side: lines in, transcript out. Without a terminal each input line is a message. */
export function openTerminal(options: TerminalOptions): Terminal {
  const { output, interactive } = options;
  const lines = createInterface({
    input: options.input,
    ...(interactive ? { output, prompt: PROMPT } : {}),
    terminal: interactive,
    historySize: interactive ? 200 : 0,
  });
  lines.on("line", options.onLine);
  lines.on("SIGINT", options.onInterrupt);
  lines.on("close", options.onEnd);
  if (interactive) return new Prompting(lines, output);
  const plain = openPlain(options);
  return {
    ...plain,
    close: () => {
      plain.close();
      lines.close();
    },
  };
}

/** For scripts: the agent's words on `output`, everything else on `notes`. */
export function openPlain({ output, notes }: { output: Writable; notes: Writable }): Terminal {
  const words = new Transcript(false);
  const rest = new Transcript(false);
  return {
    show: (shown) =>
      void (shown.kind === "agent"
        ? output.write(words.render(shown))
        : notes.write(rest.render(shown))),
    ask: (question) => {
      if (question) notes.write(questionText(rest, question));
    },
    prompt: () => undefined,
    close: () => {
      output.write(words.freshLine());
      notes.write(rest.freshLine());
    },
  };
}

/** Keeps prompt and output apart: the prompt's line is wiped before output and drawn again after it. */
class Prompting implements Terminal {
  readonly #lines: Interface;
  readonly #output: Writable;
  readonly #transcript = new Transcript(true);
  #drawn = false;
  #closed = false;

  constructor(lines: Interface, output: Writable) {
    this.#lines = lines;
    this.#output = output;
    lines.on("line", () => {
      this.#drawn = false;
    });
  }

  show(shown: Shown): void {
    this.#write(this.#transcript.render(shown));
  }

  ask(question: Approval | undefined): void {
    this.#lines.setPrompt(question ? QUESTION : PROMPT);
    if (question) this.#write(questionText(this.#transcript, question));
    this.prompt();
  }

  prompt(): void {
    if (this.#closed || !this.#transcript.atLineStart) return;
    this.#drawn = true;
    // `true` keeps what the person has typed so far.
    this.#lines.prompt(true);
  }

  close(): void {
    this.#write(this.#transcript.freshLine());
    this.#closed = true;
    this.#lines.close();
  }

  #write(text: string): void {
    if (!text) return;
    if (this.#drawn) this.#output.write("\r\x1b[J");
    this.#drawn = false;
    this.#output.write(text);
    this.prompt();
  }
}

function questionText(transcript: Transcript, { what, reason }: Approval): string {
  const why = reason ? `\n  because: ${printableLine(reason, 400)}` : "";
  const lead = transcript.freshLine();
  return `${lead}? The agent asks to ${printable(what).replaceAll("\n", "\n  ")}${why}\n`;
}
