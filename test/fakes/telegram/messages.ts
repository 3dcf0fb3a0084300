import { badRequest } from "./answers.ts";
import type { Call, Method } from "./call.ts";
import { messageText, replyMarkup, type ShownContent } from "./text.ts";
import type { ChatState, Json, Stored } from "./world.ts";

const TWO_DAYS_MS = 48 * 60 * 60 * 1000;

/** Where a call sends to: the chat is open, the topic exists, the message that it replies to too. */
export interface Destination {
  chat: ChatState;
  threadId?: number;
  body: Json;
}

export function destination({ telegram: { world }, params }: Call): Destination {
  const chat = world.writable(params.text("chat_id"));
  const threadId = params.int("message_thread_id");
  world.checkTopic(chat, threadId);
  const reply = params.json<{ message_id?: number; allow_sending_without_reply?: boolean }>(
    "reply_parameters",
  ) ?? { message_id: params.int("reply_to_message_id") };
  const original = world.message(chat, reply.message_id);
  if (reply.message_id !== undefined && !original && !reply.allow_sending_without_reply) {
    throw badRequest("message to be replied not found");
  }
  const body = original ? { reply_to_message: { ...world.json(original) } } : {};
  return { chat, body, ...(threadId !== undefined && { threadId }) };
}

/** Stores a message of the bot; the rates have been counted. */
export function place(
  { telegram: { world }, params }: Call,
  { chat, threadId, body }: Destination,
  content: ShownContent & { kind: string; body?: Json },
): Stored {
  const markup = replyMarkup(params);
  return world.store(chat, {
    from: world.bot,
    kind: content.kind,
    body: { ...body, ...content.body },
    params: params.values,
    ...(threadId !== undefined && { threadId }),
    versions: [
      {
        atMs: world.clock.now(),
        text: content.text,
        entities: content.entities,
        source: content.source,
        ...(markup && { replyMarkup: markup }),
      },
    ],
  });
}

function sendMessage(call: Call): Json {
  const content = messageText(call.params);
  const where = destination(call);
  replyMarkup(call.params);
  call.telegram.limits.message(where.chat.id);
  return call.telegram.world.json(place(call, where, { ...content, kind: "text" }));
}

/** The bot's own message that an edit names. */
function editable({ telegram: { world }, params }: Call): Stored {
  const chat = world.writable(params.text("chat_id"));
  const message = world.message(chat, params.int("message_id"));
  if (!message) throw badRequest("message to edit not found");
  if (message.from.id !== world.bot.id) throw badRequest("message can't be edited");
  return message;
}

function edit(call: Call, message: Stored, content: ShownContent): Json {
  const { world, limits } = call.telegram;
  const markup = replyMarkup(call.params);
  const current = message.versions.at(-1);
  const same = (a: unknown, b: unknown) => JSON.stringify(a ?? null) === JSON.stringify(b ?? null);
  limits.message(message.chatId);
  if (
    content.text === current?.text &&
    same(content.entities, current.entities) &&
    same(markup, current.replyMarkup)
  ) {
    throw badRequest(
      "message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message",
    );
  }
  message.versions.push({
    atMs: world.clock.now(),
    text: content.text,
    entities: content.entities,
    source: content.source,
    ...(markup && { replyMarkup: markup }),
  });
  return world.json(message);
}

function editMessageText(call: Call): Json {
  const content = messageText(call.params);
  const message = editable(call);
  if (message.kind !== "text") throw badRequest("there is no text in the message to edit");
  return edit(call, message, content);
}

function editMessageReplyMarkup(call: Call): Json {
  const message = editable(call);
  const { text = "", entities = [], source = "" } = message.versions.at(-1) ?? {};
  return edit(call, message, { text, entities, source });
}

function deleteMessage({ telegram: { world }, params }: Call): true {
  const chat = world.writable(params.text("chat_id"));
  const message = world.message(chat, params.int("message_id"));
  if (!message) throw badRequest("message to delete not found");
  const own = message.from.id === world.bot.id || chat.type === "private";
  const admin = chat.members.get(world.bot.id) === "administrator";
  if ((!own && !admin) || world.clock.now() - message.atMs > TWO_DAYS_MS) {
    throw badRequest("message can't be deleted for everyone");
  }
  message.deletedMs = world.clock.now();
  return true;
}

function setMessageReaction({ telegram: { world }, params }: Call): true {
  const chat = world.writable(params.text("chat_id"));
  const message = world.message(chat, params.int("message_id"));
  if (!message) throw badRequest("message to react not found");
  const [reaction] = params.json<{ type: string; emoji?: string }[]>("reaction") ?? [];
  if (reaction && !REACTIONS.has(reaction.emoji ?? "")) throw badRequest("REACTION_INVALID");
  if (reaction?.emoji) message.reaction = reaction.emoji;
  else delete message.reaction;
  return true;
}

const REACTIONS = new Set(
  Array.from(
    "👍👎❤🔥🥰👏😁🤔🤯😱🤬😢🎉🤩🤮💩🙏👌🕊🤡🥱🥴😍🐳🌚🌭💯🤣⚡🍌🏆💔🤨😐🍓🍾💋🖕😈😴😭🤓👻👀🎃🙈😇😨🤝✍🤗🫡🎅🎄☃💅🤪🗿🆒💘🙉🦄😘💊🙊😎👾😡",
  ),
);
const ACTIONS = new Set([
  "typing",
  "upload_photo",
  "record_video",
  "upload_video",
  "record_voice",
  "upload_voice",
  "upload_document",
  "choose_sticker",
  "find_location",
  "record_video_note",
  "upload_video_note",
]);

/** Unlike messages, typing may name topic 1, the general one. */
function sendChatAction({ telegram: { world, limits }, params }: Call): true {
  const chat = world.writable(params.text("chat_id"));
  const threadId = params.int("message_thread_id");
  if (threadId !== 1 || !chat.forum) world.checkTopic(chat, threadId);
  const action = params.text("action");
  if (!ACTIONS.has(action)) throw badRequest("wrong parameter action in request");
  limits.action(chat.id);
  chat.actions.push({
    action,
    atMs: world.clock.now(),
    ...(threadId !== undefined && { threadId }),
  });
  return true;
}

export const messageMethods: Record<string, Method> = {
  sendMessage,
  editMessageText,
  editMessageReplyMarkup,
  deleteMessage,
  setMessageReaction,
  sendChatAction,
};
