import { GrammyError } from "grammy";
import type { Logger } from "#lib/logger.ts";
import { grammySignal, type TelegramApi } from "../telegram-api.ts";

/** The bot that set it may still end: it looks after its webhook each minute, and sets it again. */
const MAX_REMOVALS = 10;

/**
 * The webhook of an earlier life: Telegram gives nothing to who asks while one is set. The same one is taken away again when it
 * comes back; another one that is set later is somebody's doing.
 */
export class EarlierWebhook {
  readonly #api: TelegramApi;
  readonly #logger: Logger;
  #url: string | undefined;
  #removals = 0;
  #isLookedAt = false;

  constructor({ api, logger }: { api: TelegramApi; logger: Logger }) {
    this.#api = api;
    this.#logger = logger;
  }

  /** Takes it away, unless that is known to be done. */
  async remove(signal: AbortSignal): Promise<void> {
    if (this.#isLookedAt) return;
    const { url = "" } = await this.#api.getWebhookInfo(grammySignal(signal));
    if (url !== "" && url === (this.#url ?? url)) {
      this.#url = url;
      await this.#api.deleteWebhook({}, grammySignal(signal));
      this.#removals += 1;
      const host = URL.canParse(url) ? new URL(url).host : "";
      const words = "a webhook was set for this bot; it is removed, for updates are asked for";
      this.#logger.warn({ host }, words);
    }
    this.#isLookedAt = true;
  }

  /** To be told why Telegram gave no updates: a conflict may mean that it is back. */
  failed(error: unknown): void {
    const isKnown = this.#url !== undefined && this.#removals < MAX_REMOVALS;
    if (isConflict(error) && isKnown) this.#isLookedAt = false;
  }
}

export function isConflict(error: unknown): error is GrammyError {
  return error instanceof GrammyError && error.error_code === 409;
}
