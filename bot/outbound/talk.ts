import { InlineKeyboard } from "grammy";
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

/** Words, with a button in each further line. */
export interface Saying {
  text: string;
  buttons?: { label: string; data: string }[];
}

const TRIES = 3;
/** Telegram takes no longer text. */
const MAX_TEXT = 4000;

/** The bot's own words: answers to commands and to what was not taken. They are no promises: the agent's answers go through the outbox. */
export class Talk {
  readonly #options: TalkOptions;

  constructor(options: TalkOptions) {
    this.#options = options;
  }

  /** Never throws: what could not be said stands in the log. */
  async answer(place: AnswerPlace, words: string | Saying): Promise<void> {
    const { text, buttons = [] } = typeof words === "string" ? { text: words } : words;
    const { api, pace, logger } = this.#options;
    const where = {
      ...inTopic(place),
      reply_parameters: { message_id: place.messageId, allow_sending_without_reply: true },
      ...(buttons.length > 0 ? { reply_markup: keyboard(buttons) } : {}),
    };
    for (let tries = 1; ; tries += 1) {
      try {
        await systemClock.sleep(pace.reserve(place.chatId));
        await api.sendMessage(place.chatId, text.slice(0, MAX_TEXT), where);
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

function keyboard(buttons: NonNullable<Saying["buttons"]>): InlineKeyboard {
  const rows = new InlineKeyboard();
  for (const { label, data } of buttons) rows.text(label, data).row();
  return rows;
}
