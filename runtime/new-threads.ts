import { z } from "zod";

/** Threads without a turn in history that are remembered; the oldest leave first. */
export const NEW_THREADS = 500;
/** Threads that go by another id than the app-server's: each costs a search in every line. */
export const ALIASES = 64;
/** Parameters above this are not kept: such a thread is not made anew. */
const PARAMS_CHARS = 256 * 1024;

/**
 * A thread that was started and may not be in the app-server's history yet. Example:
 * `{"thread":"0199a…","current":"0199b…","params":{"cwd":"/ws"}}` = peers call it 0199a…, the app-server 0199b….
 */
export const NewThread = z.object({
  thread: z.string().min(1).max(512),
  current: z.string().min(1).max(512),
  /** Of its thread/start; absent once it is in history. */
  params: z.record(z.string(), z.unknown()).optional(),
});
export type NewThread = z.infer<typeof NewThread>;

const Forgotten = z.object({ thread: z.string(), forgotten: z.literal(true) });

/** Which threads never had a turn, and under which id the app-server knows them now. Pure; changes return their line. */
export class NewThreads {
  readonly #threads = new Map<string, NewThread>();

  /** undefined = nothing to remember: it is ephemeral or its parameters are too large. */
  started(thread: string, params: Record<string, unknown>): string | undefined {
    if (params.ephemeral === true || JSON.stringify(params).length > PARAMS_CHARS) return undefined;
    return this.#put({ thread, current: thread, params });
  }

  /** It was made anew: peers go on with the old id. */
  renewed(thread: string, current: string): string {
    const params = this.#threads.get(thread)?.params;
    return this.#put(params ? { thread, current, params } : { thread, current });
  }

  /** It is in history. Returns undefined when that was known. */
  settled(thread: string): string | undefined {
    const known = this.#threads.get(thread);
    if (!known?.params) return undefined;
    if (known.current !== thread) return this.#put({ thread, current: known.current });
    this.#threads.delete(thread);
    return `${JSON.stringify({ thread, forgotten: true })}\n`;
  }

  /** Parameters to start it with again; undefined = it is, or was, in history, or unknown. */
  paramsOf(thread: string): Record<string, unknown> | undefined {
    return this.#threads.get(thread)?.params;
  }

  /** Pairs of a peers' id and the app-server's, where they differ. */
  aliases(): { thread: string; current: string }[] {
    const renewed = [...this.#threads.values()].filter(({ thread, current }) => thread !== current);
    return renewed.slice(-ALIASES);
  }

  expire(): void {
    for (const thread of this.#threads.keys()) {
      if (this.#threads.size <= NEW_THREADS) return;
      this.#threads.delete(thread);
    }
  }

  snapshot(): string {
    return [...this.#threads.values()].map((thread) => `${JSON.stringify(thread)}\n`).join("");
  }

  load(text: string): number {
    const lines = text.split("\n").filter((line) => line !== "");
    return lines.filter((line) => !this.#read(line)).length;
  }

  #put(thread: NewThread): string {
    this.#threads.delete(thread.thread);
    this.#threads.set(thread.thread, thread);
    this.expire();
    return `${JSON.stringify(thread)}\n`;
  }

  #read(line: string): boolean {
    const value = parse(line);
    const forgotten = Forgotten.safeParse(value);
    if (forgotten.success) {
      this.#threads.delete(forgotten.data.thread);
      return true;
    }
    const thread = NewThread.safeParse(value);
    if (thread.success) this.#threads.set(thread.data.thread, thread.data);
    return thread.success;
  }
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
