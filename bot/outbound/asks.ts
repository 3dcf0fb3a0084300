import { InlineKeyboard } from "grammy";
import type { ShowAsk } from "#channel/asks.ts";
import { AGAIN_MARK } from "#channel/sender.ts";
import { systemClock } from "#lib/clock.ts";
import type { PartOutcome } from "#protocol/channel.ts";
import type { AskNotice } from "#protocol/channel-asks.ts";
import { inTopic, type Place, placeOf } from "../chat-key.ts";
import { escapeHtml } from "../format/html.ts";
import { grammySignal, type TelegramApi } from "../telegram-api.ts";
import { failureOf } from "./outcome.ts";
import type { Pace } from "./pace.ts";

export interface AskOptions {
  api: TelegramApi;
  pace: Pace;
  /** It stands in the chat. */
  onShown: (ask: AskNotice, chatId: number, message: number) => void;
  /** The group has another id. */
  onMoved: (from: number, to: number) => Promise<void>;
}

/** Questions as messages with a button for each choice. */
export function telegramAsks(options: AskOptions): ShowAsk {
  return async (ask, signal) => {
    const place = placeOf(ask.chatKey);
    if (!place) return { state: "refused", reason: `${ask.chatKey} is no chat of Telegram's` };
    await systemClock.sleep(options.pace.reserve(place.chatId), signal);
    try {
      const isNew = ask.ref === null;
      return await (isNew ? say(ask, place, options, signal) : change(ask, place, options, signal));
    } catch (error) {
      return await settled(error, { ask, place, ...options });
    }
  };
}

async function say(
  ask: AskNotice,
  place: Place,
  { api, onShown }: AskOptions,
  signal: AbortSignal,
): Promise<PartOutcome> {
  const look = { ...inTopic(place), ...formatted, reply_markup: buttons(ask) };
  const text = askHtml(ask, Date.now());
  const { message_id } = await api.sendMessage(place.chatId, text, look, grammySignal(signal));
  onShown(ask, place.chatId, message_id);
  return { state: "sent", ref: String(message_id) };
}

async function change(
  ask: AskNotice,
  { chatId }: Place,
  { api }: AskOptions,
  signal: AbortSignal,
): Promise<PartOutcome> {
  const ref = ask.ref ?? "";
  const look = ask.outcome === "" ? { ...formatted, reply_markup: buttons(ask) } : formatted;
  const text = askHtml(ask, Date.now());
  await api.editMessageText(chatId, Number(ref), text, look, grammySignal(signal));
  return { state: "sent", ref };
}

async function settled(
  error: unknown,
  { ask, place, pace, onMoved }: AskOptions & { ask: AskNotice; place: Place },
): Promise<PartOutcome> {
  const failure = failureOf(error);
  const { state } = failure;
  // What is not there any more says nothing wrong.
  if (state === "same" || state === "lostMessage") return { state: "sent", ref: ask.ref ?? "?" };
  if (state === "unparsable")
    return { state: "refused", reason: "Telegram does not take the text" };
  if (state === "moved") {
    await onMoved(place.chatId, failure.to);
    return { state: "notSent", reason: "the group moves" };
  }
  if (state === "notSent" && failure.retryAfterMs !== undefined) {
    pace.pause(place.chatId, failure.retryAfterMs);
  }
  return failure;
}

const formatted = {
  parse_mode: "HTML" as const,
  link_preview_options: { is_disabled: true },
};

/** Pure. `now`: ms since the epoch. */
export function askHtml(ask: AskNotice, now: number): string {
  const { question, detail, reason, outcome, until, again } = ask;
  const minutes = Math.max(1, Math.ceil((until - now) / 60_000));
  const lines = [
    `${again && outcome === "" ? `${AGAIN_MARK} ` : ""}❓ <b>${escapeHtml(question)}</b>`,
    detail === "" ? "" : `<pre>${escapeHtml(detail)}</pre>`,
    reason === "" ? "" : `Why: ${escapeHtml(reason)}`,
    outcome === ""
      ? `<i>Without an answer it counts as refused after ${minutes} min.</i>`
      : escapeHtml(outcome),
  ];
  return lines.filter((line) => line !== "").join("\n");
}

function buttons({ askId, choices }: AskNotice): InlineKeyboard {
  const keyboard = new InlineKeyboard();
  const isLong = choices.some((choice) => choice.length > 20) || choices.length > 3;
  choices.forEach((choice, number) => {
    keyboard.text(choice, `ask:${number}:${askId}`);
    if (isLong) keyboard.row();
  });
  return keyboard;
}
