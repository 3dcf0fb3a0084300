import { z } from "zod";

const Cancelled = z.object({
  method: z.literal("notifications/cancelled"),
  params: z.object({ requestId: z.union([z.string(), z.number()]) }),
});

/** Calls that run, by their id: each request has a server of its own, so the word to stop one comes to another. */
export class Withdrawals {
  readonly #running = new Map<string, Set<AbortController>>();

  async during<T>(callId: string, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const stop = new AbortController();
    const same = this.#running.get(callId) ?? new Set();
    this.#running.set(callId, same.add(stop));
    try {
      return await work(stop.signal);
    } finally {
      same.delete(stop);
      if (same.size === 0) this.#running.delete(callId);
    }
  }

  /** Looks at one message of an MCP session. */
  take(message: unknown, mcpSession: string): void {
    const { data } = Cancelled.safeParse(message);
    if (!data) return;
    const callId = `${mcpSession}/${data.params.requestId}`;
    for (const stop of this.#running.get(callId) ?? []) stop.abort();
  }
}
