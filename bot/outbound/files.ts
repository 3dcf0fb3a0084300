import { basename, extname } from "node:path";
import { GrammyError, InputFile } from "grammy";
import type { z } from "zod";
import type { Part } from "#channel/sender.ts";
import { takeOut } from "#channel/take-out.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import { unlessAborted } from "#lib/unless-aborted.ts";
import type { PartOutcome } from "#protocol/channel.ts";
import { inTopic, type Place } from "../chat-key.ts";
import { grammySignal, type TelegramApi } from "../telegram-api.ts";
import { failureOf, isChatGone } from "./outcome.ts";

/** A workspace that cannot be asked is waited for this long, so many times; then the person is told. */
const REACH_MS = 120_000;
const MAX_REACH_TRIES = 5;
const REACH_AGAIN_MS = 30_000;

type Kind = "photo" | "voice" | "audio" | "video" | "document";

const KINDS: Record<string, Kind> = {
  ".jpg": "photo",
  ".jpeg": "photo",
  ".png": "photo",
  ".webp": "photo",
  ".ogg": "voice",
  ".oga": "voice",
  ".opus": "voice",
  ".mp3": "audio",
  ".m4a": "audio",
  ".mp4": "video",
};

export interface FileSenderOptions {
  /** With time for a large file. */
  api: TelegramApi;
  /** Asks the gateway until there is an answer. */
  ask: <T>(method: string, params: unknown, result: z.ZodType<T>) => Promise<T>;
}

/** What is known of a file before it is sent. */
type First = { isThere: true } | { why: string } | { later: string };

/** Sends files of the workspace that an answer names: streamed, never held whole. */
export class FileSender {
  readonly #options: FileSenderOptions;
  readonly #first = new WeakMap<Part, First>();

  constructor(options: FileSenderOptions) {
    this.#options = options;
  }

  /** Whether there is such a file is asked before the part counts as on its way: whoever dies meanwhile leaves no doubt. */
  async turn(part: Part, path: string, signal: AbortSignal): Promise<void> {
    this.#first.set(part, await this.#begun(part, path, signal));
  }

  async send(
    part: Part,
    {
      place,
      path,
      mark,
      signal,
    }: { place: Place; path: string; mark: string; signal: AbortSignal },
  ): Promise<PartOutcome> {
    const first = this.#first.get(part) ?? (await this.#begun(part, path, signal));
    if ("later" in first && part.delivery.attempts < MAX_REACH_TRIES) {
      return { state: "notSent", reason: first.later, retryAfterMs: REACH_AGAIN_MS };
    }
    const say = (why: string) => this.#say(place, `${mark}⚠️ ${path} was not sent: ${why}`, signal);
    if ("later" in first) return await say(`${first.later}. Ask me for it again later.`);
    if ("why" in first) return await say(first.why);
    const kind = kindOf(path);
    const sending = { part, place, path, caption: mark.trim(), signal };
    try {
      return await this.#upload(kind, sending);
    } catch (error) {
      if (!isAboutFile(error)) throw error;
      if (kind === "document") return await say(fileWords(error));
    }
    // What Telegram does not take as a picture or sound it takes as a file.
    try {
      return await this.#upload("document", sending);
    } catch (error) {
      if (isAboutFile(error)) return await say(fileWords(error));
      throw error;
    }
  }

  async #begun(part: Part, path: string, signal: AbortSignal): Promise<First> {
    const late = AbortSignal.any([signal, AbortSignal.timeout(REACH_MS)]);
    try {
      const { value } = await unlessAborted(this.#bytes(part, path).next(), late);
      return value ? { isThere: true } : { why: "it is empty." };
    } catch (error) {
      if (error instanceof ArgusError && error.code === "NotFound") return { why: error.message };
      return { later: "the agent's workspace cannot be reached now" };
    }
  }

  #bytes({ delivery }: Part, path: string): AsyncGenerator<Buffer> {
    return takeOut(this.#options.ask, { deliveryId: delivery.id, path });
  }

  async #upload(kind: Kind, { part, place, path, caption, signal }: Upload): Promise<PartOutcome> {
    let broken: unknown;
    const bytes = this.#bytes(part, path);
    const watched = async function* () {
      try {
        yield* bytes;
      } catch (error) {
        broken = error;
        throw error;
      }
    };
    const file = new InputFile(watched, basename(path));
    const more = { ...inTopic(place), ...(caption === "" ? {} : { caption }) };
    try {
      const { api } = this.#options;
      const message = await api[METHODS[kind]](place.chatId, file, more, grammySignal(signal));
      return { state: "sent", ref: String(message.message_id) };
    } catch (error) {
      // Its last bytes never left: Telegram has nothing of it.
      if (broken === undefined) throw error;
      return { state: "notSent", reason: `the file did not come: ${errorMessage(broken)}` };
    }
  }

  async #say({ chatId, ...place }: Place, text: string, signal: AbortSignal): Promise<PartOutcome> {
    const where = inTopic({ chatId, ...place });
    const { api } = this.#options;
    const { message_id } = await api.sendMessage(chatId, text, where, grammySignal(signal));
    return { state: "sent", ref: String(message_id) };
  }
}

interface Upload {
  part: Part;
  place: Place;
  path: string;
  caption: string;
  signal: AbortSignal;
}

const METHODS = {
  photo: "sendPhoto",
  voice: "sendVoice",
  audio: "sendAudio",
  video: "sendVideo",
  document: "sendDocument",
} as const satisfies Record<Kind, keyof TelegramApi>;

const kindOf = (path: string): Kind => KINDS[extname(path).toLowerCase()] ?? "document";

/** Telegram does not take this file; the chat is as it was. */
function isAboutFile(error: unknown): error is GrammyError {
  if (!(error instanceof GrammyError) || isChatGone(error)) return false;
  const failure = failureOf(error);
  return error.error_code === 413 || (error.error_code === 400 && failure.state === "refused");
}

function fileWords({ error_code: code, description }: GrammyError): string {
  if (code === 413 || /too (big|large)/i.test(description)) {
    return "Telegram takes no files of more than 50 MB from bots.";
  }
  return `Telegram says: ${description}`;
}
