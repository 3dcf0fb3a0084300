import type { InvokeResult } from "#protocol/node.ts";

/** Answers that a repeat of their call gets. */
export const MAX_ANSWERS = 500;
export const MAX_ANSWER_BYTES = 32 * 1024 * 1024;
/** Calls that have no answer yet. */
export const MAX_OPEN_CALLS = 128;

type Answer = Omit<InvokeResult, "nodeId">;

/** Answers each call once: by its id, for as long as the id is remembered. */
export class Answers {
  readonly #open = new Map<string, Promise<Answer>>();
  readonly #kept = new Map<string, { answer: Answer; bytes: number }>();
  #bytes = 0;

  /** The answer of call `id`: from memory, from the same call that is still running, or by `act`, which never rejects. */
  async once(id: string, act: () => Promise<Answer>): Promise<Answer> {
    const kept = this.#kept.get(id);
    if (kept) return kept.answer;
    const open = this.#open.get(id);
    if (open) return open;
    if (this.#open.size >= MAX_OPEN_CALLS)
      return { id, ok: false, error: { code: "BUSY", message: "too many calls are open" } };
    const answer = act();
    this.#open.set(id, answer);
    try {
      this.#keep(id, await answer);
      return await answer;
    } finally {
      this.#open.delete(id);
    }
  }

  #keep(id: string, answer: Answer): void {
    const bytes = JSON.stringify(answer).length;
    this.#kept.set(id, { answer, bytes });
    this.#bytes += bytes;
    for (const [oldest, { bytes: freed }] of this.#kept) {
      if (this.#kept.size <= MAX_ANSWERS && this.#bytes <= MAX_ANSWER_BYTES) return;
      if (oldest === id) return;
      this.#kept.delete(oldest);
      this.#bytes -= freed;
    }
  }
}
