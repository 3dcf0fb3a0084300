import { z } from "zod";
import type { Caller } from "./caller.ts";
import { RpcFailure } from "./rpc.ts";

const TIMEOUT_MS = 10_000;
const Terminals = z.looseObject({ data: z.array(z.unknown()) });

/** Whether a thread of the app-server has a command running beyond its turn. A runtime that knows no such thing has none. */
export async function hasBackgroundTerminals(
  caller: Caller,
  threads: readonly string[],
): Promise<boolean> {
  for (const threadId of threads) {
    try {
      const params = { threadId, limit: 1 };
      const result = await caller.call("thread/backgroundTerminals/list", params, {
        timeoutMs: TIMEOUT_MS,
      });
      if (Terminals.parse(result).data.length > 0) return true;
    } catch (error) {
      if (!(error instanceof RpcFailure)) throw error;
      const { data } = error.error;
      // No answer is no proof that nothing runs.
      if (typeof data === "object" && data !== null && "reason" in data) return true;
    }
  }
  return false;
}
