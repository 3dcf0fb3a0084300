import { InlineKeyboard } from "grammy";
import type { ShowAsk } from "#channel/asks.ts";
import { AGAIN_MARK } from "#channel/sender.ts";
import { systemClock } from "#lib/clock.ts";
import { REFUSE } from "#protocol/ask.ts";
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
  const look = { ...inTopic(place), ...formatted, ...buttons(ask) };
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
  const look = ask.outcome === "" ? { ...formatted, ...buttons(ask) } : formatted;
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
  const { question, detail, reason, outcome, again } = ask;
  const lines = [
    `${again && outcome === "" ? `${AGAIN_MARK} ` : ""}❓ <b>${escapeHtml(question)}</b>`,
    detail === "" ? "" : `<pre>${escapeHtml(detail)}</pre>`,
    reason === "" ? "" : `Why: ${escapeHtml(reason)}`,
    outcome === "" ? `<i>${howToAnswer(ask, now)}</i>` : escapeHtml(outcome),
  ];
  return lines.filter((line) => line !== "").join("\n");
}

/** The question of a message that {@link askHtml} made, by its visible text; undefined = it is no such message. Pure. */
export function questionIn(text: string): string | undefined {
  const [, question] = /^(?:↻ )?❓ (.+)/.exec(text) ?? [];
  return question?.slice(0, 512);
}

function howToAnswer({ choices, free, until }: AskNotice, now: number): string {
  const minutes = Math.max(1, Math.ceil((until - now) / 60_000));
  if (choices.includes(REFUSE)) {
    return `Without an answer it counts as refused after ${minutes} min.`;
  }
  const byReply = choices.length > 0 ? "Press, or reply to this message in your own words." : "";
  const how = free ? byReply || "Reply to this message." : "";
  return `${how} After ${minutes} min I go on without an answer.`.trim();
}

function buttons({ askId, choices }: AskNotice): { reply_markup?: InlineKeyboard } {
  if (choices.length === 0) return {};
  const keyboard = new InlineKeyboard();
  const isLong = choices.some((choice) => choice.length > 20) || choices.length > 3;
  choices.forEach((choice, number) => {
    keyboard.text(choice, `ask:${number}:${askId}`);
    if (isLong) keyboard.row();
  });
  return { reply_markup: keyboard };
}
