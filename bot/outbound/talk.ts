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
/** Who wrote waits for these words, and with a poller all others too. */
const MAX_WAIT_MS = 15_000;
/** Telegram takes no longer text. */
const MAX_TEXT = 4000;

/** The bot's own words: answers to commands and to what was not taken. They are no promises: the agent's answers go through the outbox. */
export class Talk {
  readonly #options: TalkOptions;

  constructor(options: TalkOptions) {
    this.#options = options;
  }

  /** Never throws: what could not be said soon stands in the log. */
  async answer(place: AnswerPlace, words: string | Saying): Promise<void> {
    const { api, logger } = this.#options;
    const { chatId } = place;
    const { text, ...where } = messageOf(place, words);
    const untilMs = performance.now() + MAX_WAIT_MS;
    for (let tries = 1; ; tries += 1) {
      try {
        await this.#turn(chatId, untilMs);
        await api.sendMessage(chatId, text, where);
        return;
      } catch (error) {
        const failure = failureOf(error);
        const pauseMs = failure.state === "notSent" ? (failure.retryAfterMs ?? 1000 * tries) : 0;
        const isLate = performance.now() + pauseMs > untilMs;
        const isOver = failure.state !== "notSent" || isLate || tries >= TRIES;
        const facts = { chat: chatId, error: errorMessage(error) };
        if (isOver) return logger.warn(facts, "an answer was not said");
        await systemClock.sleep(pauseMs);
      }
    }
  }

  /** Waits for the chat's next place. Throws when that comes too late. */
  async #turn(chatId: number, untilMs: number): Promise<void> {
    const waitMs = this.#options.pace.within(chatId, untilMs - performance.now());
    if (waitMs === undefined) throw new Error("Telegram wants no message to this chat for longer");
    await systemClock.sleep(waitMs);
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
