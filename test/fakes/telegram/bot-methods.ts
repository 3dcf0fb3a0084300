import { badRequest, Described, forbidden } from "./answers.ts";
import type { Call, Method } from "./call.ts";
import type { ChatState, Json } from "./world.ts";

/** A question from a button can be answered so long. */
const QUERY_MS = 60_000;

async function getUpdates({ telegram: { updates }, params, signal }: Call): Promise<unknown> {
  updates.allow(params.json("allowed_updates"));
  return await updates.get({
    offset: params.int("offset") ?? 0,
    limit: params.int("limit") ?? 100,
    timeout: params.int("timeout") ?? 0,
    signal,
  });
}

function setWebhook({ telegram: { updates }, params }: Call): unknown {
  updates.allow(params.json("allowed_updates"));
  return updates.setWebhook({
    url: params.text("url"),
    secret: params.text("secret_token"),
    dropPending: params.flag("drop_pending_updates"),
  });
}

function deleteWebhook({ telegram: { updates }, params }: Call): unknown {
  const dropPending = params.flag("drop_pending_updates");
  return updates.setWebhook({ url: "", secret: "", dropPending });
}

function answerCallbackQuery({ telegram: { queries, world }, params }: Call): true {
  const id = params.text("callback_query_id");
  const query = queries.get(id);
  if (!query || world.clock.now() - query.atMs > QUERY_MS) {
    throw badRequest("query is too old and response timeout expired or query ID is invalid");
  }
  if (params.text("text").length > 200) throw badRequest("MESSAGE_TOO_LONG");
  queries.delete(id);
  query.answer(params.values);
  return true;
}

interface BotCommand {
  command: string;
  description: string;
}

const commandsKey = ({ params }: Call) =>
  JSON.stringify([params.json("scope") ?? { type: "default" }, params.text("language_code") || ""]);

function setMyCommands(call: Call): true {
  const commands = call.params.json<BotCommand[]>("commands");
  if (!Array.isArray(commands)) throw badRequest("can't parse commands: expected an Array");
  if (commands.length > 100) throw badRequest("BOT_COMMANDS_TOO_MUCH");
  for (const { command, description } of commands) {
    if (!/^\/?[a-z0-9_]{1,32}$/.test(command)) throw badRequest("BOT_COMMAND_INVALID");
    if (!description || description.length > 256) {
      throw badRequest("BOT_COMMAND_DESCRIPTION_INVALID");
    }
  }
  call.telegram.commands.set(commandsKey(call), commands);
  return true;
}

function deleteMyCommands(call: Call): true {
  call.telegram.commands.delete(commandsKey(call));
  return true;
}

function getChat({ telegram: { world }, params }: Call): Json {
  const chat = world.find(params.text("chat_id"));
  checkMember(chat, world.bot.id);
  return { ...world.chatJson(chat), accent_color_id: 1, max_reaction_count: 11 };
}

function checkMember(chat: ChatState, botId: number): void {
  if (chat.type === "private") return;
  const status = chat.members.get(botId);
  const kind = chat.type === "supergroup" ? "supergroup chat" : "group chat";
  if (status === "kicked") throw forbidden(`bot was kicked from the ${kind}`);
  if (status === undefined || status === "left") {
    throw forbidden(`bot is not a member of the ${kind}`);
  }
}

function getChatMember({ telegram: { world }, params }: Call): Json {
  const chat = world.find(params.text("chat_id"));
  checkMember(chat, world.bot.id);
  const userId = params.int("user_id") ?? 0;
  const user = userId === world.bot.id ? world.bot : chat.people.get(userId);
  if (!user) throw badRequest("member not found");
  return { user, status: chat.members.get(userId) ?? "left" };
}

function getChatAdministrators({ telegram: { world }, params }: Call): Json[] {
  const chat = world.find(params.text("chat_id"));
  if (chat.type === "private") throw badRequest("there are no administrators in the private chat");
  return [...chat.people.values()]
    .map((user) => ({ user, status: chat.members.get(user.id) }))
    .filter(({ status }) => status === "creator" || status === "administrator");
}

function leaveChat({ telegram: { world }, params }: Call): true {
  const chat = world.writable(params.text("chat_id"));
  if (chat.type === "private")
    throw badRequest("chat member status can't be changed in private chats");
  chat.members.set(world.bot.id, "left");
  chat.shut = "left";
  return true;
}

export const botMethods: Record<string, Method> = {
  getMe: ({ telegram }) => telegram.world.bot,
  getUpdates,
  setWebhook,
  deleteWebhook,
  getWebhookInfo: ({ telegram }) => telegram.updates.webhookInfo(),
  answerCallbackQuery,
  setMyCommands,
  deleteMyCommands,
  getMyCommands: (call) => call.telegram.commands.get(commandsKey(call)) ?? [],
  getChat,
  getChatMember,
  getChatAdministrators,
  leaveChat,
  logOut: () => true,
  close: () => new Described(true, "Bot was closed"),
};
