import type { Message, MessageOrigin, User } from "grammy/types";

/** Of a message that is answered to, so much is shown to the agent. */
const MAX_QUOTE = 1000;

/** What a reader needs to know beside a message's own words, a line each. Pure. */
export function contextOf(message: Message, bot: User, isEdit: boolean): string {
  const lines = [
    isEdit ? "[The person edited an earlier message; this is its new text.]" : "",
    message.forward_origin ? `[Forwarded from ${originOf(message.forward_origin)}]` : "",
    quoteOf(message, bot),
  ];
  return lines.filter(Boolean).join("\n");
}

function quoteOf({ quote, reply_to_message: reply }: Message, bot: User): string {
  if (!reply) return "";
  const text = (quote?.text ?? reply.text ?? reply.caption ?? "").trim();
  if (text === "") return "";
  const author = reply.from?.id === bot.id ? "you" : (reply.from?.first_name ?? "somebody");
  const short = text.length > MAX_QUOTE ? `${text.slice(0, MAX_QUOTE)}…` : text;
  const quoted = short.split("\n").map((line) => `> ${line}`);
  return [`[In reply to ${author}:]`, ...quoted].join("\n");
}

function originOf(origin: MessageOrigin): string {
  if (origin.type === "user") return origin.sender_user.first_name;
  if (origin.type === "hidden_user") return origin.sender_user_name;
  if (origin.type === "chat") return origin.sender_chat.title ?? "a group";
  return origin.chat.title ?? "a channel";
}
