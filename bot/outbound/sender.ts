import { InlineKeyboard } from "grammy";
import type { Part, Sender, SendFacts } from "#channel/sender.ts";
import { systemClock } from "#lib/clock.ts";
import { remember } from "#lib/remember.ts";
import type { PartOutcome } from "#protocol/channel.ts";
import { type Delivery, MAX_PARTS } from "#protocol/delivery.ts";
import { inTopic, type Place, placeOf } from "../chat-key.ts";
import { withoutMedia } from "../format/media.ts";
import { marked, plan, type Part as TextPart } from "../format/plan.ts";
import type { Replies } from "../replies.ts";
import { grammySignal, type TelegramApi } from "../telegram-api.ts";
import type { FileSender } from "./files.ts";
import { type Failure, failureOf } from "./outcome.ts";
import type { Pace } from "./pace.ts";

/** A longer wait is written down, so that the lease does not run out in it. */
const MAX_WAIT_MS = 15_000;
/** Answers whose parts are kept: each part of one asks for them. */
const MAX_PLANS = 64;
const NOTHING: TextPart = {
  index: 0,
  from: 0,
  to: 0,
  html: "(an empty answer)",
  text: "(an empty answer)",
};

interface Planned {
  texts: TextPart[];
  /** Paths of files; each is a part after the texts. */
  files: string[];
}

export interface SenderOptions {
  api: TelegramApi;
  pace: Pace;
  replies: Pick<Replies, "to">;
  files: Pick<FileSender, "turn" | "send">;
  /** From now on nothing else may be said in place of the answer. Resolves when nothing of that kind is on its way. */
  onBegun: (inputId: string | null) => Promise<void>;
  /** A message of an answer is in the chat. */
  onSent: (chatId: number, message: number) => void;
  /** The group has another id. */
  onMoved: (from: number, to: number) => Promise<void>;
}

/** Sends the parts of answers to Telegram; one call is one try. */
export class TelegramSender implements Sender {
  readonly #options: SenderOptions;
  /** How much longer than a wait lasts here Telegram's rates keep a part, ms. */
  readonly #tooEarly = new WeakMap<Part, number>();
  readonly #plans = new Map<string, Planned>();

  constructor(options: SenderOptions) {
    this.#options = options;
  }

  parts(delivery: Delivery): string[] {
    const { texts, files } = this.#planned(delivery);
    return [...texts.map(({ html }) => html), ...files];
  }

  async turn(part: Part, signal: AbortSignal): Promise<void> {
    const place = placeOf(part.delivery.target.chatKey);
    if (!place) return;
    await this.#options.onBegun(part.delivery.inputId);
    const path = this.#fileOf(part);
    if (path !== undefined) await this.#options.files.turn(part, path, signal);
    const waitMs = this.#options.pace.reserve(place.chatId);
    if (waitMs > MAX_WAIT_MS) this.#tooEarly.set(part, waitMs);
    else await systemClock.sleep(waitMs, signal);
  }

  async send(part: Part, { mode, mark, signal }: SendFacts): Promise<PartOutcome> {
    const place = placeOf(part.delivery.target.chatKey);
    if (!place) {
      return {
        state: "refused",
        reason: `${part.delivery.target.chatKey} is no chat of Telegram's`,
      };
    }
    const waitMs = this.#tooEarly.get(part);
    if (waitMs !== undefined) {
      return {
        state: "notSent",
        reason: "Telegram allows no more messages to this chat now",
        retryAfterMs: waitMs,
      };
    }
    const path = this.#fileOf(part);
    if (path !== undefined) return await this.#sendFile(part, place, { path, mark, signal });
    const planned = this.#planned(part.delivery).texts[part.number] ?? NOTHING;
    const text = mark ? marked(planned, `${mark} `) : planned;
    return mode === "edit"
      ? this.#edit(part, place, text, signal)
      : this.#say(part, place, text, signal);
  }

  /** Path of the file that is this part. */
  #fileOf({ delivery, number }: Part): string | undefined {
    const { texts, files } = this.#planned(delivery);
    return files[number - texts.length];
  }

  #buttons(part: Part) {
    return buttons(part, this.#planned(part.delivery).texts.length);
  }

  #planned(delivery: Delivery): Planned {
    const known = this.#plans.get(delivery.id);
    if (known) return known;
    const { text, files } = withoutMedia(delivery.text);
    const made = plan(text);
    const texts = made.length > 0 ? made : [NOTHING];
    const planned = { texts, files: files.slice(0, MAX_PARTS - texts.length) };
    remember(this.#plans, delivery.id, planned, MAX_PLANS);
    return planned;
  }

  async #sendFile(
    part: Part,
    place: Place,
    what: { path: string; mark: string; signal: AbortSignal },
  ): Promise<PartOutcome> {
    const { files, onSent } = this.#options;
    return await this.#settle(place, async (to) => {
      const outcome = await files.send(part, { place: to, ...what });
      if (outcome.state === "sent") onSent(to.chatId, Number(outcome.ref));
      return outcome;
    });
  }

  async #say(part: Part, place: Place, text: TextPart, signal: AbortSignal): Promise<PartOutcome> {
    const { api, replies } = this.#options;
    const quote = part.number === 0 ? replies.to(part.delivery.inputId) : {};
    const post = (to: Place, formatted: boolean) =>
      api.sendMessage(
        to.chatId,
        formatted ? text.html : text.text,
        { ...inTopic(to), ...look(formatted), ...quote, ...this.#buttons(part) },
        grammySignal(signal),
      );
    const sent = async (to: Place, formatted: boolean) => {
      const { message_id } = await post(to, formatted);
      this.#options.onSent(to.chatId, message_id);
      return { state: "sent", ref: String(message_id) } as const;
    };
    return this.#settle(place, (to, formatted) => sent(to, formatted));
  }

  async #edit(part: Part, place: Place, text: TextPart, signal: AbortSignal): Promise<PartOutcome> {
    const { api } = this.#options;
    const { editRef: ref = "" } = part.delivery;
    const id = Number(ref);
    const change = async (to: Place, formatted: boolean) => {
      const words = formatted ? text.html : text.text;
      await api.editMessageText(
        to.chatId,
        id,
        words,
        { ...look(formatted), ...this.#buttons(part) },
        grammySignal(signal),
      );
      return { state: "sent", ref } as const;
    };
    return this.#settle(place, change, ref);
  }

  /** Tries once; again only after a refusal that says what to do otherwise. */
  async #settle(
    place: Place,
    attempt: (to: Place, formatted: boolean) => Promise<PartOutcome>,
    ref?: string,
  ): Promise<PartOutcome> {
    let to = place;
    let formatted = true;
    for (let tries = 0; ; tries += 1) {
      try {
        return await attempt(to, formatted);
      } catch (error) {
        const failure = failureOf(error);
        if (failure.state === "unparsable" && formatted) formatted = false;
        else if (failure.state === "moved" && tries < 2) {
          await this.#options.onMoved(place.chatId, failure.to);
          to = { ...place, chatId: failure.to };
        } else return this.#final(place.chatId, failure, ref);
      }
    }
  }

  #final(chatId: number, failure: Failure, ref = "?"): PartOutcome {
    if (failure.state === "same") return { state: "sent", ref };
    if (failure.state === "lostMessage") return GONE;
    if (failure.state === "moved") return { state: "notSent", reason: "the group moves" };
    if (failure.state === "unparsable") {
      return { state: "refused", reason: "Telegram does not take the text" };
    }
    if (failure.state === "notSent" && failure.retryAfterMs !== undefined) {
      this.#options.pace.pause(chatId, failure.retryAfterMs);
    }
    return failure;
  }
}

/** The next try sends a message of its own. */
const GONE: PartOutcome = {
  state: "notSent",
  reason: "the status message is gone: the answer comes as a message of its own",
  retryAfterMs: 0,
  editLost: true,
};

const look = (formatted: boolean) => ({
  ...(formatted ? { parse_mode: "HTML" as const } : {}),
  link_preview_options: { is_disabled: true },
});

/** Below the last text of a message whose turn died. */
function buttons({ delivery: { canRetry, inputId }, number }: Part, texts: number) {
  if (!canRetry || inputId === null || number + 1 < texts) return {};
  return { reply_markup: new InlineKeyboard().text("Try again", `retry:${inputId}`) };
}
