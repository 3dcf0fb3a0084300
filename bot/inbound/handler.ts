import type { Update, User } from "grammy/types";
import { z } from "zod";
import { type Adapter, AdapterStopped } from "#channel/adapter.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { AdmitResult, CHANNEL, type InputParams } from "#protocol/channel.ts";
import { MAX_INPUT_BYTES } from "#protocol/lane-entry.ts";
import type { Talk } from "../outbound/talk.ts";
import type { Progress } from "../progress.ts";
import type { Replies } from "../replies.ts";
import type { TelegramApi } from "../telegram-api.ts";
import { pairingWords, refusalWords, WORDS } from "../words.ts";
import { admission } from "./admission.ts";
import { withAlbums } from "./albums.ts";
import { buttonPressed } from "./buttons.ts";
import { runCommand } from "./commands.ts";
import { chatOf } from "./gather.ts";
import { type Inbound, inboundOf } from "./message.ts";
import { RateLimit } from "./rate.ts";

/** A stranger is shown the code at most so often. */
const PAIRING_MS = 60_000;

export interface HandlerOptions {
  api: TelegramApi;
  bot: User;
  adapter: Adapter;
  talk: Talk;
  progress: Progress;
  replies: Replies;
  owners: string[];
  members: string[];
  mainSession: string;
  joinUrl: string | undefined;
  logger: Logger;
}

/** What people write goes to their sessions; resolved = it is durable there, or they were told why not. */
export class Handler {
  readonly options: HandlerOptions;
  readonly #rate = new RateLimit();

  constructor(options: HandlerOptions) {
    this.options = options;
  }

  /** Chats at once, each in its order. Rejects only when the bot stops: what it was at is not confirmed and comes again. */
  async take(updates: Update[]): Promise<void> {
    const { bot } = this.options;
    const chats = Map.groupBy(updates, chatOf);
    await Promise.all(
      [...chats.values()].map(async (own) => {
        for (const update of own) await this.#guarded(update, () => this.#other(update));
        const messages = own
          .map((update) => inboundOf(update, bot))
          .filter((each) => each !== undefined);
        for (const message of withAlbums(messages)) {
          await this.#guarded(message, () => this.#message(message), message);
        }
      }),
    );
  }

  /** One that cannot be handled must not hold up the others for good: it is told and passed over. */
  async #guarded(what: object, run: () => Promise<void>, message?: Inbound): Promise<void> {
    try {
      await run();
    } catch (error) {
      if (error instanceof AdapterStopped) throw error;
      const { logger, talk } = this.options;
      const facts = {
        chat: "chatKey" in what ? what.chatKey : undefined,
        error: errorMessage(error),
      };
      logger.error(facts, "an update was not handled");
      if (message) await talk.answer(message, refusalWords(error));
    }
  }

  async #other(update: Update): Promise<void> {
    if (update.callback_query) return buttonPressed(update.callback_query, this.options);
    const { migrate_to_chat_id: to, migrate_from_chat_id: from, chat } = update.message ?? {};
    if (to !== undefined && chat) await this.#moved(chat.id, to);
    if (from !== undefined && chat) await this.#moved(from, chat.id);
  }

  async #moved(from: number, to: number): Promise<void> {
    const moved = { from: String(from), to: String(to) };
    await this.options.adapter.ask(CHANNEL.moved, moved, z.unknown());
  }

  async #message(message: Inbound): Promise<void> {
    // In a group nothing is said, asked or kept unless the bot is meant.
    if (!message.isAddressed && message.isGroup) return;
    const { talk, adapter } = this.options;
    const consent = message.isGroup && message.command?.name === "start";
    const asking = admission(message, this.options, consent);
    const verdict = await adapter.ask(CHANNEL.admit, asking, AdmitResult);
    if (verdict.state === "pairing") {
      const isDue = this.#rate.once(`${message.person.id} ${verdict.code}`, PAIRING_MS);
      if (isDue) await talk.answer(message, pairingWords(verdict.code));
    } else if (verdict.state === "refused") {
      if (verdict.reason === "askConsent") await talk.answer(message, WORDS.askConsent);
    } else if (await this.#isInRate(message)) {
      if (message.command && (await runCommand(message, verdict, this.options))) return;
      await this.#input(message, verdict.sessionId);
    }
  }

  async #isInRate(message: Inbound): Promise<boolean> {
    const state = this.#rate.take(message.person.id);
    if (state === "tell") await this.options.talk.answer(message, WORDS.tooFast);
    return state === "taken";
  }

  /** A reply may answer what the agent asks in the message. */
  #reply({ repliesTo, text, isGroup, person }: Inbound): Pick<InputParams, "reply"> {
    const { owners, members } = this.options;
    if (repliesTo === undefined) return {};
    const { messageId, question } = repliesTo;
    return {
      reply: {
        ref: String(messageId),
        question,
        text,
        isGroup,
        person,
        allow: { owners, members },
      },
    };
  }

  async #input(message: Inbound, sessionId: string): Promise<void> {
    const { adapter, progress, replies } = this.options;
    const text = textOf(message);
    if (Buffer.byteLength(text) > MAX_INPUT_BYTES) throw new ArgusError("TooLarge", "too long");
    const { chatKey, key, attachments } = message;
    const params = { chatKey, key, text, attachments, sessionId, ...this.#reply(message) };
    const { inputId, repeated, answered } = await adapter.input(params);
    if (answered) return;
    replies.note(inputId, message);
    if (!repeated) progress.began(inputId, message);
  }
}

function textOf({ isGroup, person, context, text }: Inbound): string {
  const said = isGroup ? `${person.name}: ${text}` : text;
  return [context, said].filter(Boolean).join("\n");
}
