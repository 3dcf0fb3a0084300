import { GrammyError, HttpError } from "grammy";
import type { PartOutcome } from "#protocol/channel.ts";
import { Fenced } from "./fenced.ts";

/** Network errors after which no byte of the request has left. */
const NOT_LEFT = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"]);
/** Telegram will never take it: the chat is gone, closed or has put the bot out. */
const GONE =
  /chat not found|user is deactivated|bot was (kicked|blocked)|bot is not a member|PEER_ID_INVALID|message thread not found|TOPIC_(CLOSED|DELETED)|have no rights to send|not enough rights/i;
const UNPARSABLE =
  /can't parse entities|find end of the entity|message is too long|text is too long/i;
const LOST_MESSAGE = /message to edit not found|message can't be edited|MESSAGE_ID_INVALID/i;

/** What a failed request means for its part. */
export type Failure =
  | PartOutcome
  /** Nothing was sent: the text may be tried without its formatting. */
  | { state: "unparsable" }
  /** Nothing was sent: the message that should change is gone. */
  | { state: "lostMessage" }
  /** It says already what it should. */
  | { state: "same" }
  /** Nothing was sent: the group has another id now. */
  | { state: "moved"; to: number };

/** Pure. */
export function failureOf(error: unknown): Failure {
  if (error instanceof GrammyError) return refusalOf(error);
  if (error instanceof HttpError) {
    const code = codeOf(error.error);
    const words = `Telegram cannot be reached (${code ?? "the connection was cut"})`;
    if (code !== undefined && NOT_LEFT.has(code)) return { state: "notSent", reason: words };
    return { state: "unknown", reason: words };
  }
  if (error instanceof Fenced) return { state: "notSent", reason: error.message };
  return { state: "unknown", reason: "the request was cut off" };
}

function refusalOf(error: GrammyError): Failure {
  const { error_code: code, description, parameters } = error;
  const reason = `Telegram says: ${description}`;
  if (code === 429) {
    const retryAfterMs = Math.max(1, parameters.retry_after ?? 1) * 1000;
    return { state: "notSent", reason, retryAfterMs };
  }
  // Its server failed before or after the message was there.
  if (code >= 500) return { state: "unknown", reason };
  if (code === 401 || code === 404 || code === 409) {
    return { state: "notSent", reason, retryAfterMs: 30_000 };
  }
  return badRequest(error) ?? { state: "refused", reason: code === 403 ? gone(reason) : reason };
}

/** What one can do otherwise about a 400. */
function badRequest({ description, parameters }: GrammyError): Failure | undefined {
  if (parameters.migrate_to_chat_id !== undefined) {
    return { state: "moved", to: parameters.migrate_to_chat_id };
  }
  if (/message is not modified/i.test(description)) return { state: "same" };
  if (UNPARSABLE.test(description)) return { state: "unparsable" };
  if (LOST_MESSAGE.test(description)) return { state: "lostMessage" };
  if (GONE.test(description))
    return { state: "refused", reason: gone(`Telegram says: ${description}`) };
  return undefined;
}

/** The chat takes nothing any more. Pure. */
export function isChatGone({ error_code: code, description }: GrammyError): boolean {
  return code === 403 || GONE.test(description);
}

function gone(reason: string): string {
  return `${reason}. The person has blocked the bot, or the chat is gone: it cannot be reached any more.`;
}

function codeOf(error: unknown): string | undefined {
  const inner = typeof error === "object" && error !== null ? error : {};
  return "code" in inner && typeof inner.code === "string" ? inner.code : undefined;
}
