import { InlineKeyboard } from "grammy";
import { type Clock, systemClock } from "#lib/clock.ts";
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
  clock?: Clock;
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
/** Who wrote waits for these words, and with a poller all others too: no longer than this. */
const MAX_WAIT_MS = 15_000;
/** Answers that wait until their chats take messages again. */
const MAX_UNSAID = 1000;
/** Telegram takes no longer text. */
const MAX_TEXT = 4000;

/** The bot's own words: answers to commands and to what was not taken. They are no promises: the agent's answers go through the outbox. */
export class Talk {
  readonly #options: TalkOptions;
  readonly #clock: Clock;
  #unsaid = 0;

  constructor(options: TalkOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** Resolves when it is said, or goes on aside when that takes long. Never throws: what could not be said stands in the log. */
  async answer(place: AnswerPlace, words: string | Saying): Promise<void> {
    const { logger } = this.#options;
    if (this.#unsaid >= MAX_UNSAID)
      return logger.warn({ chat: place.chatId }, "too many answers wait: one was not said");
    this.#unsaid += 1;
    const saying = this.#say(place, words).finally(() => {
      this.#unsaid -= 1;
    });
    const late = new AbortController();
    const long = this.#clock.sleep(MAX_WAIT_MS, late.signal).catch(() => undefined);
    await Promise.race([saying, long]);
    late.abort();
  }

  async #say(place: AnswerPlace, words: string | Saying): Promise<void> {
    const { api, pace, logger } = this.#options;
    const { text, ...where } = messageOf(place, words);
    for (let tries = 1; ; tries += 1) {
      try {
        await this.#clock.sleep(pace.reserve(place.chatId));
        await api.sendMessage(place.chatId, text, where);
        return;
      } catch (error) {
        const failure = failureOf(error);
        const isOver = failure.state !== "notSent" || tries >= TRIES;
        const facts = { chat: place.chatId, error: errorMessage(error) };
        if (isOver) return logger.warn(facts, "an answer was not said");
        await this.#clock.sleep(failure.retryAfterMs ?? 1000 * tries);
      }
    }
  }
}

function messageOf(place: AnswerPlace, words: string | Saying) {
  const { text, buttons = [] } = typeof words === "string" ? { text: words } : words;
  return {
    text: text.slice(0, MAX_TEXT),
    ...inTopic(place),
    reply_parameters: { message_id: place.messageId, allow_sending_without_reply: true },
    ...(buttons.length > 0 ? { reply_markup: keyboard(buttons) } : {}),
  };
}

function keyboard(buttons: NonNullable<Saying["buttons"]>): InlineKeyboard {
  const rows = new InlineKeyboard();
  for (const { label, data } of buttons) rows.text(label, data).row();
  return rows;
}
