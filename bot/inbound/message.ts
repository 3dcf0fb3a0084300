import type { Message, Update, User } from "grammy/types";
import type { Attachment } from "#protocol/lane-entry.ts";
import { questionIn } from "../outbound/asks.ts";
import { attachmentsOf } from "./attachments.ts";
import { contextOf } from "./context.ts";

/** What somebody wrote to the bot, in Argus's words. */
export interface Inbound {
  person: { id: string; name: string };
  /** `<chat id>`, in a forum's topic `<chat id>:<topic>`. */
  chatKey: string;
  /** The chat without its topic. */
  groupKey: string;
  chatId: number;
  topic: number | undefined;
  isGroup: boolean;
  messageId: number;
  /** The same for every repeat of the update. */
  key: string;
  /** Without the mention of the bot. */
  text: string;
  /** What the message is about: quotes, forwards; goes before the text. */
  context: string;
  attachments: Attachment[];
  /** The bot's message that it replies to, and the question in it. */
  repliesTo: { messageId: number; question: string | undefined } | undefined;
  /** Messages of one album have the same. */
  album: string | undefined;
  /** In a group: the bot is meant. */
  isAddressed: boolean;
  command: { name: string; words: string } | undefined;
}

/** The message of an update that is for the bot; undefined = nothing that anybody wrote to it. Pure. */
export function inboundOf(update: Update, bot: User): Inbound | undefined {
  const message = update.message ?? update.edited_message;
  const { from } = message ?? {};
  if (!message || !from || from.is_bot) return undefined;
  const attachments = attachmentsOf(message);
  const written = writtenIn(message);
  if (written === "" && attachments.length === 0) return undefined;
  const { isGroup, topic, groupKey, chatKey } = chatIn(message);
  const command = commandOf(written, bot);
  return {
    person: { id: String(from.id), name: nameOf(from) },
    chatKey,
    groupKey,
    chatId: message.chat.id,
    topic,
    isGroup,
    messageId: message.message_id,
    key: keyOf(message, update),
    text: withoutMention(written, bot),
    context: contextOf(message, bot, update.edited_message !== undefined),
    attachments,
    repliesTo: repliedTo(message, bot),
    album: message.media_group_id,
    isAddressed: command !== undefined || isFor(message, written, bot),
    command,
  };
}

/** The chat of a message, with its topic where the forum has them. */
export function chatIn({
  chat,
  is_topic_message,
  message_thread_id,
}: Pick<Message, "chat" | "is_topic_message" | "message_thread_id">) {
  const topic = is_topic_message ? message_thread_id : undefined;
  const groupKey = String(chat.id);
  const chatKey = topic === undefined ? groupKey : `${groupKey}:${topic}`;
  return { isGroup: chat.type !== "private", topic, groupKey, chatKey };
}

function repliedTo({ reply_to_message: reply }: Message, bot: User): Inbound["repliesTo"] {
  if (reply?.from?.id !== bot.id) return undefined;
  return { messageId: reply.message_id, question: questionIn(reply.text ?? "") };
}

const writtenIn = ({ text, caption }: Message): string => text ?? caption ?? "";

function keyOf({ chat, message_id, edit_date }: Message, update: Update): string {
  const edited = update.edited_message ? `/${edit_date ?? update.update_id}` : "";
  return `${chat.id}/${message_id}${edited}`;
}

export function nameOf({ first_name, last_name, username }: User): string {
  const name = [first_name, last_name].filter(Boolean).join(" ");
  return (username ? `${name} (@${username})` : name).slice(0, 128);
}

/** A reply to the bot, or its name in the text. */
function isFor({ reply_to_message: reply }: Message, text: string, bot: User): boolean {
  return reply?.from?.id === bot.id || mentionOf(bot).test(text);
}

function mentionOf({ username = "" }: User): RegExp {
  return new RegExp(`(^|[^\\w@])@${username}(?!\\w)`, "i");
}

function withoutMention(text: string, bot: User): string {
  return text.replace(mentionOf(bot), "$1").trim();
}

/** `/name words`, also as `/name@bot`; another bot's command is none. */
function commandOf(text: string, { username = "" }: User): Inbound["command"] {
  const [, name = "", to, words = ""] =
    /^\/([a-z0-9_]{1,32})(?:@(\w+))?(?:\s+(.*))?$/is.exec(text) ?? [];
  if (name === "" || (to !== undefined && to.toLowerCase() !== username.toLowerCase())) {
    return undefined;
  }
  return { name: name.toLowerCase(), words: words.trim() };
}
