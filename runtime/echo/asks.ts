import type { Wire } from "./wire.ts";

/** The answer to a request of ours: its result, or undefined when it was an error. */
export type Answer = { result: unknown } | undefined;

interface Open {
  threadId: string;
  send: () => void;
  settle: (answer: Answer) => void;
}

/** Requests that wait for the client's answer. Their ids count from 0, as Codex's do. */
export class Asks {
  readonly #wire: Wire;
  readonly #open = new Map<number, Open>();
  #nextId = 0;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** Waits without limit. Rejects with the signal's reason; a late answer is ignored then. */
  ask(
    request: { threadId: string; method: string; params: unknown },
    signal: AbortSignal,
  ): Promise<Answer> {
    signal.throwIfAborted();
    const { threadId, method, params } = request;
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const aborted = () => {
      this.#resolved(id, threadId);
      reject(signal.reason as Error);
    };
    const send = () => this.#wire.ask(id, method, params);
    const settle = (answer: Answer) => {
      signal.removeEventListener("abort", aborted);
      this.#resolved(id, threadId);
      resolve(answer);
    };
    signal.addEventListener("abort", aborted, { once: true });
    this.#open.set(id, { threadId, send, settle });
    send();
    return promise;
  }

  /** Whether an answer to `id` was awaited. */
  settle(id: unknown, answer: Answer): boolean {
    const open = typeof id === "number" ? this.#open.get(id) : undefined;
    open?.settle(answer);
    return open !== undefined;
  }

  /** Sends the open requests of a thread again, with the same ids. */
  repeat(threadId: string): void {
    for (const open of this.#open.values()) if (open.threadId === threadId) open.send();
  }

  isOpen(threadId: string): boolean {
    return [...this.#open.values()].some((open) => open.threadId === threadId);
  }

  #resolved(requestId: number, threadId: string): void {
    this.#open.delete(requestId);
    this.#wire.notify("serverRequest/resolved", { threadId, requestId });
  }
}
