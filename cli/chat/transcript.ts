import { printable, printableLine } from "./printable.ts";
import type { Shown } from "./shown.ts";

const STYLE: Record<Shown["kind"], [open: string, close: string]> = {
  status: ["\x1b[2m", "\x1b[22m"],
  note: ["\x1b[2m", "\x1b[22m"],
  thinking: ["\x1b[2;3m", "\x1b[22;23m"],
  output: ["\x1b[2m", "\x1b[22m"],
  command: ["\x1b[36m", "\x1b[39m"],
  error: ["\x1b[31m", "\x1b[39m"],
  agent: ["", ""],
  user: ["\x1b[35m", "\x1b[39m"],
};

const MARK: Record<Shown["kind"], string> = {
  status: "· ",
  note: "  · ",
  thinking: "  ",
  output: "",
  command: "$ ",
  error: "! ",
  agent: "",
  user: "› ",
};

/** Characters of a shown line; the whole of it stands in the thread. */
const MAX_LINE = 1_000;
/** Streamed in parts: continues on the line where the last part ended. */
const STREAMED: Shown["kind"][] = ["agent", "thinking", "output"];

/** Makes terminal text of what is shown; knows whether the cursor stands at the start of a line. */
export class Transcript {
  readonly #colour: boolean;
  #last: Shown["kind"] | undefined;
  #atLineStart = true;

  constructor(colour: boolean) {
    this.#colour = colour;
  }

  get atLineStart(): boolean {
    return this.#atLineStart;
  }

  /** Bytes for the terminal; control characters of the agent are made visible. */
  render(shown: Shown): string {
    const streamed = STREAMED.includes(shown.kind);
    const text = streamed ? printable(shown.text) : printableLine(shown.text, MAX_LINE);
    if (!text || (text === "\n" && this.#atLineStart)) return "";
    const continues = streamed && shown.kind === this.#last;
    const lead = continues || this.#atLineStart ? "" : "\n";
    const mark = continues && !this.#atLineStart ? "" : MARK[shown.kind];
    const body = this.#style(shown.kind, `${mark}${text}`);
    const end = streamed ? "" : "\n";
    this.#last = shown.kind;
    this.#atLineStart = !streamed || text.endsWith("\n");
    return `${lead}${body}${end}`;
  }

  /** What to write so that the cursor stands at the start of a line. */
  freshLine(): string {
    if (this.#atLineStart) return "";
    this.#atLineStart = true;
    return "\n";
  }

  #style(kind: Shown["kind"], text: string): string {
    const [open, close] = STYLE[kind];
    return this.#colour ? `${open}${text}${close}` : text;
  }
}
