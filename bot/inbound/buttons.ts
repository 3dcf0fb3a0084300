import type { CallbackQuery, MaybeInaccessibleMessage } from "grammy/types";
import { z } from "zod";
import { type Adapter, AdapterStopped } from "#channel/adapter.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { AdmitResult, CHANNEL } from "#protocol/channel.ts";
import { AskAnswerResult, CHANNEL_ASK } from "#protocol/channel-asks.ts";
import type { TelegramApi } from "../telegram-api.ts";
import { admission } from "./admission.ts";
import { chatIn, nameOf } from "./message.ts";
import { switchTo } from "./owner-commands.ts";

export interface ButtonOptions {
  adapter: Adapter;
  api: TelegramApi;
  owners: string[];
  members: string[];
  mainSession: string;
  logger: Logger;
}

interface Press extends ButtonOptions {
  from: CallbackQuery["from"];
  message: MaybeInaccessibleMessage;
}

/**
 * A button below one of the bot's messages; whoever presses it is told what came of it. Pressed twice it is one press. Throws
 * {@link AdapterStopped}: the press comes again.
 */
export async function buttonPressed(query: CallbackQuery, options: ButtonOptions): Promise<void> {
  const { api, logger } = options;
  const words = await pressed(query, options).catch((error: unknown) => {
    if (error instanceof AdapterStopped) throw error;
    return errorMessage(error);
  });
  await api.answerCallbackQuery(query.id, { text: words.slice(0, 200) }).catch((error: unknown) => {
    logger.debug({ error: errorMessage(error) }, "a button was not answered");
  });
}

async function pressed({ data = "", message, from }: CallbackQuery, options: ButtonOptions) {
  const [, inputId] = /^retry:([\w-]{1,48})$/.exec(data) ?? [];
  const [, session] = /^use:([a-z0-9-]{1,63})$/.exec(data) ?? [];
  const [, choice, askId] = /^ask:(\d):([\w-]{1,48})$/.exec(data) ?? [];
  if (!message) return "This button is not known any more.";
  const press = { ...options, from, message };
  if (inputId !== undefined) return await retry(inputId, press);
  if (session !== undefined) return await use(session, press);
  if (askId !== undefined) return await decide({ askId, choice: Number(choice) }, press);
  return "This button is not known any more.";
}

/** "Try again" below an answer that did not come. */
async function retry(inputId: string, { adapter, from, message, ...options }: Press) {
  const { chatKey, ...chat } = chatIn(message);
  const asking = admission({ person: personOf(from), chatKey, ...chat }, options);
  const verdict = await adapter.ask(CHANNEL.admit, asking, AdmitResult);
  if (verdict.state !== "allowed") return "You may not do that here.";
  const call = { chatKey, method: "argus/input/retry", params: { inputId } };
  await adapter.ask(CHANNEL.call, call, z.unknown());
  return "Once more, then.";
}

/** "Talk to …" below the list of sessions; the gateway asks whether it is an owner's. */
async function use(session: string, { from, message, ...options }: Press) {
  return await switchTo(session, { ...chatIn(message), person: personOf(from) }, options);
}

/** A choice below a question. The message is changed by the gateway's news. */
async function decide(
  { askId, choice }: { askId: string; choice: number },
  { adapter, api, from, message, owners, members }: Press,
) {
  const { chatKey, isGroup } = chatIn(message);
  const facts = { askId, choice, chatKey, isGroup, person: personOf(from) };
  const params = { ...facts, ref: String(message.message_id), allow: { owners, members } };
  try {
    const { isFirst, outcome } = await adapter.ask(CHANNEL_ASK.answer, params, AskAnswerResult);
    return isFirst ? outcome : `It was decided before. ${outcome}`;
  } catch (error) {
    const isForgotten = error instanceof ArgusError && error.code === "NotFound";
    if (isForgotten) await withoutButtons(message, api).catch(() => undefined);
    throw error;
  }
}

/** Nobody else would take them away. It may be that there are none. */
function withoutButtons({ chat, message_id }: MaybeInaccessibleMessage, api: TelegramApi) {
  return api.editMessageReplyMarkup(chat.id, message_id);
}

function personOf(from: CallbackQuery["from"]) {
  return { id: String(from.id), name: nameOf(from) };
}
