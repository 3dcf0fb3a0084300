import { GrammyError } from "grammy";
import type { Update } from "grammy/types";
import { backoffMs, systemClock } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { grammySignal, type TelegramApi } from "../telegram-api.ts";
import { EarlierWebhook, isConflict } from "./earlier-webhook.ts";

const POLL_SECONDS = 50;
const BATCH = 100;
const RETRY = { baseMs: 500, maxMs: 30_000 };
/** The photos of an album come one by one: the rest is waited for this long, some times. */
const ALBUM_MS = 400;
const ALBUM_LOOKS = 5;
/** What was taken is confirmed at the end, if Telegram answers at once. */
const FAREWELL_MS = 2000;
export const ALLOWED_UPDATES = [
  "message",
  "edited_message",
  "callback_query",
  "my_chat_member",
] as const;

export interface PollOptions {
  api: TelegramApi;
  /** Resolves once everything in the updates is durable; only then Telegram is told. Rejects only when the signal aborts. */
  take: (updates: Update[]) => Promise<void>;
  /** Told after each try why Telegram cannot be asked; undefined = it can. */
  onState: (reason: string | undefined) => void;
  logger: Logger;
}

/** Asks Telegram for updates until the signal aborts. Throws when the token is worth nothing. */
export async function poll(options: PollOptions, signal: AbortSignal): Promise<void> {
  let offset: number | undefined;
  const webhook = new EarlierWebhook(options);
  for (let failures = 0; !signal.aborted; ) {
    try {
      await webhook.remove(signal);
      // After a failure whether it is over is known at once, not after a long poll.
      const seconds = failures > 0 ? 0 : POLL_SECONDS;
      const updates = await wholeBatch(options, { offset, seconds }, signal);
      failures = 0;
      options.onState(undefined);
      await options.take(updates);
      offset = (updates.at(-1)?.update_id ?? (offset ?? 0) - 1) + 1 || undefined;
    } catch (error) {
      if (signal.aborted) break;
      if (error instanceof GrammyError && error.error_code === 401) throw error;
      webhook.failed(error);
      options.onState(`No updates from Telegram: ${pollWords(error)}`);
      options.logger.warn({ error: pollWords(error) }, "no updates from Telegram; trying again");
      await systemClock.sleep(pauseOf(error, failures++), signal).catch(() => undefined);
    }
  }
  await farewell(options, offset);
}

/** Updates that nobody has confirmed; when the last is a piece of an album, with what still comes of it. */
async function wholeBatch(
  { api }: PollOptions,
  { offset, seconds }: { offset: number | undefined; seconds: number },
  signal: AbortSignal,
): Promise<Update[]> {
  const ask = (timeout: number) =>
    api.getUpdates(
      {
        ...(offset === undefined ? {} : { offset }),
        timeout,
        limit: BATCH,
        allowed_updates: ALLOWED_UPDATES,
      },
      grammySignal(signal),
    );
  let updates = await ask(seconds);
  for (let looks = 0; looks < ALBUM_LOOKS && isAlbum(updates.at(-1)); looks += 1) {
    await systemClock.sleep(ALBUM_MS, signal);
    // Nothing is confirmed yet: the same ones come again, and what has arrived since.
    const again = await ask(0);
    if (again.length === updates.length) break;
    updates = again;
  }
  return updates;
}

const isAlbum = (update?: Update) => update?.message?.media_group_id !== undefined;

function pauseOf(error: unknown, failures: number): number {
  const named = error instanceof GrammyError ? error.parameters.retry_after : undefined;
  return Math.max((named ?? 0) * 1000, backoffMs(failures, RETRY));
}

/** What keeps updates away, in words. */
export function pollWords(error: unknown): string {
  if (isConflict(error)) {
    return `${error.description}. Another program asks with this token, or a webhook is set: end it, one of both gets each message.`;
  }
  return errorMessage(error);
}

async function farewell({ api }: PollOptions, offset: number | undefined): Promise<void> {
  if (offset === undefined) return;
  const asked = { offset, timeout: 0, limit: 1, allowed_updates: ALLOWED_UPDATES };
  await api.getUpdates(asked, grammySignal(AbortSignal.timeout(FAREWELL_MS))).catch(() => []);
}
