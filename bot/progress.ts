import { type Clock, systemClock } from "#lib/clock.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { remember } from "#lib/remember.ts";
import type { EndedNotice, ProgressNotice } from "#protocol/channel.ts";
import { inTopic, type Place, placeOf } from "./chat-key.ts";
import { plan } from "./format/plan.ts";
import type { Pace } from "./outbound/pace.ts";
import type { Replies } from "./replies.ts";
import type { TelegramApi } from "./telegram-api.ts";
import { statusWords } from "./words.ts";

/** Telegram shows "typing" for five seconds. */
const TYPING_MS = 4500;
/** A turn that is over sooner needs no words about it. */
const FIRST_WORDS_MS = 3000;
const EDIT_MS = 4000;
/** A change of the status message that nobody has answered yet holds up the answer for so long at most. */
const EDITED_MS = 5000;
/** The answer takes the status message's place within this, or it is removed. */
const LEFT_OVER_MS = 10_000;
/** Without any word about a turn for so long nobody is typing. */
const SILENT_MS = 15 * 60_000;
const MAX_WORDS = 200;
/** Chats whose last answer is remembered. */
const MAX_CHATS = 10_000;

const FORMATTED = { parse_mode: "HTML" as const };

/** A command is shown as code. */
const statusHtml = (words: string): string => plan(`⏳ ${words}`)[0]?.html ?? "⏳";

export interface ProgressOptions {
  api: TelegramApi;
  pace: Pace;
  replies: Pick<Replies, "to">;
  logger: Logger;
  clock?: Clock;
  /** Writes down which message shows the turn. False: it is over, the message has to go. */
  shown: (notice: ProgressNotice, ref: string) => Promise<boolean>;
}

interface Running {
  place: Place;
  since: number;
  heardAt: number;
  notice: ProgressNotice | undefined;
  /** Id of the status message; `pending` = on its way. */
  message: number | "pending" | undefined;
  shownWords: string;
  editedAt: number;
  /** The answer is being sent: nothing may be said over it. */
  isAnswered: boolean;
  /** Settles when no change of the status message is on its way. */
  edited: Promise<void>;
  /** The turn has ended. */
  isOver: boolean;
}

/** Shows in each chat that its turn runs: typing, and after a while one message with what it does. News only; nothing depends on it. */
export class Progress {
  readonly #options: ProgressOptions;
  readonly #clock: Clock;
  /** By the message's id at the gateway. */
  readonly #running = new Map<string, Running>();
  /** The last answer in each chat. */
  readonly #newest = new Map<number, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ProgressOptions, signal: AbortSignal) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    signal.addEventListener("abort", () => clearInterval(this.#timer), { once: true });
  }

  /** A message was taken. */
  began(inputId: string, place: Place): void {
    if (this.#running.has(inputId)) return;
    const now = this.#clock.now();
    const facts = {
      shownWords: "",
      editedAt: 0,
      isAnswered: false,
      edited: Promise.resolve(),
      isOver: false,
      message: undefined,
    };
    this.#running.set(inputId, { place, since: now, heardAt: now, notice: undefined, ...facts });
    this.#type(place);
    this.#timer ??= setInterval(() => this.#tick(), TYPING_MS);
  }

  progress(notice: ProgressNotice): void {
    const place = placeOf(notice.chatKey);
    if (!place) return;
    this.began(notice.inputId, place);
    const running = this.#running.get(notice.inputId);
    if (!running) return;
    running.notice = notice;
    running.heardAt = this.#clock.now();
    this.#show(running);
  }

  /** An answer stands in the chat: a status message above it must not become a later answer. */
  sent(chatId: number, message: number): void {
    remember(this.#newest, chatId, message, MAX_CHATS);
  }

  /** A question stands in the chat: the status message above it goes, a later one comes below. */
  asked(inputId: string | null, chatId: number, message: number): void {
    this.sent(chatId, message);
    const running = this.#running.get(inputId ?? "");
    if (typeof running?.message !== "number" || running.isAnswered) return;
    this.#remove(running.place, running.message);
    running.message = undefined;
    running.shownWords = "";
  }

  /** Its answer is about to be sent. Resolves when no change of the status message can come after it and take its place. */
  async answered(inputId: string | null): Promise<void> {
    const running = this.#running.get(inputId ?? "");
    if (!running) return;
    running.isAnswered = true;
    const settled = new AbortController();
    const late = this.#clock.sleep(EDITED_MS, settled.signal).catch(() => undefined);
    await Promise.race([running.edited, late]);
    settled.abort();
  }

  ended({ inputId }: EndedNotice): void {
    const running = this.#running.get(inputId);
    if (!running) return;
    running.notice = undefined;
    running.isOver = true;
    // Its answer comes after this news and takes the message's place; where none comes, it would stand there for good.
    setTimeout(() => {
      this.#running.delete(inputId);
      const { place, message, isAnswered } = running;
      if (typeof message === "number" && !isAnswered) this.#remove(place, message);
    }, LEFT_OVER_MS).unref();
  }

  #tick(): void {
    const now = this.#clock.now();
    for (const [id, running] of this.#running) {
      if (now - running.heardAt > SILENT_MS) this.#running.delete(id);
      else if (!running.isAnswered && !running.isOver) {
        this.#type(running.place);
        this.#show(running);
      }
    }
    if (this.#running.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #type(place: Place): void {
    const { pace, logger } = this.#options;
    const waitMs = pace.aside(TYPING_MS);
    if (waitMs === undefined) return;
    void this.#typeIn(place, waitMs).catch((error: unknown) => {
      logger.debug({ error: errorMessage(error) }, "typing was not shown");
    });
  }

  async #typeIn({ chatId, topic }: Place, waitMs: number): Promise<void> {
    const where = topic === undefined ? {} : { message_thread_id: topic };
    await this.#clock.sleep(waitMs);
    await this.#options.api.sendChatAction(chatId, "typing", where);
  }

  #show(running: Running): void {
    const { notice, message, since, editedAt, shownWords, isAnswered } = running;
    const now = this.#clock.now();
    const words = statusWords(notice?.words ?? "", MAX_WORDS);
    if (isAnswered || running.isOver || !notice || words === "" || words === shownWords) return;
    if (now - since < FIRST_WORDS_MS || now - editedAt < EDIT_MS || message === "pending") return;
    running.shownWords = words;
    running.editedAt = now;
    if (message === undefined) void this.#begin(running, notice);
    else void this.#edit(running, message, words);
  }

  async #begin(running: Running, notice: ProgressNotice): Promise<void> {
    const { api, pace, replies, logger, shown } = this.#options;
    const { place } = running;
    running.message = "pending";
    try {
      await this.#clock.sleep(pace.reserve(place.chatId));
      if (running.isAnswered || running.isOver) return;
      const quote = replies.to(notice.inputId);
      const quiet = { ...inTopic(place), ...FORMATTED, ...quote, disable_notification: true };
      const text = statusHtml(running.shownWords);
      const { message_id } = await api.sendMessage(place.chatId, text, quiet);
      const isBelow = () => (this.#newest.get(place.chatId) ?? 0) < message_id;
      const isKept = isBelow() && (await shown(notice, String(message_id)));
      if (isKept && isBelow()) {
        running.message = message_id;
        return;
      }
      this.#remove(place, message_id);
      // A question came to stand below it meanwhile: the next one comes below that.
      if (isKept) running.message = undefined;
    } catch (error) {
      running.message = undefined;
      logger.debug({ error: errorMessage(error) }, "a status message was not shown");
    }
  }

  async #edit(running: Running, message: number, words: string): Promise<void> {
    const { api, pace, logger } = this.#options;
    const { chatId } = running.place;
    try {
      await this.#clock.sleep(pace.reserve(chatId));
      if (running.isAnswered || running.isOver) return;
      const sent = api.editMessageText(chatId, message, statusHtml(words), FORMATTED);
      running.edited = sent.then(
        () => undefined,
        () => undefined,
      );
      await sent;
    } catch (error) {
      logger.debug({ error: errorMessage(error) }, "a status message was not changed");
    }
  }

  #remove({ chatId }: Place, message: number): void {
    const { api, logger } = this.#options;
    api.deleteMessage(chatId, message).catch((error: unknown) => {
      logger.debug({ error: errorMessage(error) }, "a status message was not removed");
    });
  }
}
