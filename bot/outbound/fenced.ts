import type { Transformer } from "grammy";
import type { Fence } from "#cluster/types.ts";
import { errorMessage } from "#lib/errors.ts";
import { grammySignal } from "../telegram-api.ts";

/** A request under way when the Lease is lost gets this long: others may take the Lease a second later. */
const CUT_MS = 4000;

/** The request was not sent: another replica may talk to Telegram now. */
export class Fenced extends Error {}

/** No request leaves when the fence is down; those under way are cut before another replica may begin. */
export function fencedBy(fence: Fence): Transformer {
  const cut = new AbortController();
  const cutSoon = () => void setTimeout(() => cut.abort(), CUT_MS);
  fence.signal.addEventListener("abort", cutSoon, { once: true });
  return async (call, method, payload, signal) => {
    try {
      fence.check();
    } catch (error) {
      throw new Fenced(errorMessage(error));
    }
    const signals = [cut.signal, ...(signal ? [signal as unknown as AbortSignal] : [])];
    return await call(method, payload, grammySignal(AbortSignal.any(signals)));
  };
}
