import { z } from "zod";

/** Threads whose own choice is remembered; the oldest leave first. */
export const MAX_CHOICES = 1000;
/** A value above this is kept without what it says beyond its kind. */
const VALUE_CHARS = 4096;

/** What a client named itself; absent = it left that to us. */
export const Choice = z.object({
  cwd: z.unknown().optional(),
  approvalPolicy: z.unknown().optional(),
  /** Mode of a thread, or the policy of a turn. */
  sandbox: z.unknown().optional(),
  sandboxPolicy: z.unknown().optional(),
  /** A profile; excludes the two above. */
  permissions: z.unknown().optional(),
});
export type Choice = z.infer<typeof Choice>;

const Line = z.object({ thread: z.string().min(1).max(512), choice: Choice });

/**
 * What clients chose for their threads, kept over restarts: the session's own policy may be less strict. Pure; a change
 * returns its line, e.g. `{"thread":"0199a…","choice":{"approvalPolicy":"untrusted"}}`.
 */
export class Choices {
  /** The one that was changed last is the last. */
  readonly #choices = new Map<string, Choice>();

  get(thread: string): Choice | undefined {
    return this.#choices.get(thread);
  }

  /** undefined = it was known. */
  put(thread: string, choice: Choice): string | undefined {
    const kept = keepable(choice);
    const text = JSON.stringify(kept);
    if (text === JSON.stringify(this.#choices.get(thread))) return undefined;
    this.#choices.delete(thread);
    this.#choices.set(thread, kept);
    this.expire();
    return `${JSON.stringify({ thread, choice: kept })}\n`;
  }

  expire(): void {
    for (const oldest of this.#choices.keys()) {
      if (this.#choices.size <= MAX_CHOICES) return;
      this.#choices.delete(oldest);
    }
  }

  snapshot(): string {
    return [...this.#choices]
      .map(([thread, choice]) => `${JSON.stringify({ thread, choice })}\n`)
      .join("");
  }

  load(text: string): number {
    const lines = text.split("\n").filter((line) => line !== "");
    return lines.filter((line) => !this.#read(line)).length;
  }

  #read(line: string): boolean {
    const read = Line.safeParse(parse(line));
    if (!read.success) return false;
    this.#choices.delete(read.data.thread);
    this.#choices.set(read.data.thread, read.data.choice);
    return true;
  }
}

/** Members always in the same order, so that equal choices are equal texts; nothing in it is large. */
function keepable(choice: Choice): Choice {
  const kept: Choice = {};
  for (const field of Choice.keyof().options) {
    const value = small(choice[field]);
    if (value !== undefined) kept[field] = value;
  }
  return kept;
}

/** What a policy does not say is the strict default, e.g. no network and no further folders. */
function small(value: unknown): unknown {
  if (value === undefined || JSON.stringify(value).length <= VALUE_CHARS) return value;
  const named = z.object({ type: z.string().max(64) }).safeParse(value);
  return named.success ? named.data : undefined;
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
