import type { Transformer } from "grammy";
import type { Pace } from "./pace.ts";

/** What a person sees; typing and removals are no messages. */
const MESSAGES = /^(?:send(?!ChatAction)|edit)/;

/**
 * Keeps the pauses that Telegram names, whoever of the bot was told: until one is over no message leaves for that chat. Whoever wants to
 * send one is answered as Telegram answered before.
 */
export function heedPauses(pace: Pick<Pace, "pause" | "pausedFor">): Transformer {
  return async (call, method, payload, signal) => {
    const chatId = Number((payload as { chat_id?: unknown } | undefined)?.chat_id);
    if (!MESSAGES.test(method) || !Number.isSafeInteger(chatId)) {
      return await call(method, payload, signal);
    }
    const leftMs = pace.pausedFor(chatId);
    if (leftMs > 0) return tooMany(Math.ceil(leftMs / 1000));
    const answer = await call(method, payload, signal);
    const isTooMany = !answer.ok && answer.error_code === 429;
    if (isTooMany) pace.pause(chatId, (answer.parameters?.retry_after ?? 1) * 1000);
    return answer;
  };
}

function tooMany(seconds: number) {
  return {
    ok: false as const,
    error_code: 429,
    description: `Too Many Requests: retry after ${seconds}`,
    parameters: { retry_after: seconds },
  };
}
