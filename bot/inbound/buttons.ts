import type { CallbackQuery } from "grammy/types";
import { z } from "zod";
import type { Adapter } from "#channel/adapter.ts";
import { errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { AdmitResult, CHANNEL } from "#protocol/channel.ts";
import type { TelegramApi } from "../telegram-api.ts";
import { admission } from "./admission.ts";
import { chatIn, nameOf } from "./message.ts";

export interface ButtonOptions {
  adapter: Adapter;
  api: TelegramApi;
  owners: string[];
  members: string[];
  mainSession: string;
  logger: Logger;
}

/** "Try again" below an answer that did not come. Pressed twice it is one try. */
export async function retryButton(query: CallbackQuery, options: ButtonOptions): Promise<void> {
  const { api, logger } = options;
  const words = await pressed(query, options).catch((error: unknown) => errorMessage(error));
  await api.answerCallbackQuery(query.id, { text: words.slice(0, 200) }).catch((error: unknown) => {
    logger.debug({ error: errorMessage(error) }, "a button was not answered");
  });
}

async function pressed({ data, message, from }: CallbackQuery, options: ButtonOptions) {
  const [, inputId] = /^retry:([\w-]{1,48})$/.exec(data ?? "") ?? [];
  if (inputId === undefined || !message) return "This button is not known any more.";
  const { chatKey, ...chat } = chatIn(message);
  const person = { id: String(from.id), name: nameOf(from) };
  const asking = admission({ person, chatKey, ...chat }, options);
  const { adapter } = options;
  const verdict = await adapter.ask(CHANNEL.admit, asking, AdmitResult);
  if (verdict.state !== "allowed") return "You may not do that here.";
  const call = { chatKey, method: "argus/input/retry", params: { inputId } };
  await adapter.ask(CHANNEL.call, call, z.unknown());
  return "Once more, then.";
}
