import { systemClock } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { inTopic } from "../chat-key.ts";
import type { TelegramApi } from "../telegram-api.ts";
import { failureOf } from "./outcome.ts";
import type { Pace } from "./pace.ts";

export interface TalkOptions {
  api: TelegramApi;
  pace: Pace;
  logger: Logger;
}

/** Where and to what something is answered. */
export interface AnswerPlace {
  chatId: number;
  topic: number | undefined;
  messageId: number;
}

const TRIES = 3;

/** The bot's own words: answers to commands and to what was not taken. They are no promises: the agent's answers go through the outbox. */
export class Talk {
  readonly #options: TalkOptions;

  constructor(options: TalkOptions) {
    this.#options = options;
  }

  /** Never throws: what could not be said stands in the log. */
  async answer(place: AnswerPlace, text: string): Promise<void> {
    const { api, pace, logger } = this.#options;
    const where = {
      ...inTopic(place),
      reply_parameters: { message_id: place.messageId, allow_sending_without_reply: true },
    };
    for (let tries = 1; ; tries += 1) {
      try {
        await systemClock.sleep(pace.reserve(place.chatId));
        await api.sendMessage(place.chatId, text, where);
        return;
      } catch (error) {
        const failure = failureOf(error);
        const isOver = failure.state !== "notSent" || tries >= TRIES;
        if (isOver) return logger.warn({ error: errorMessage(error) }, "an answer was not said");
        await systemClock.sleep(failure.retryAfterMs ?? 1000 * tries);
      }
    }
  }
}
