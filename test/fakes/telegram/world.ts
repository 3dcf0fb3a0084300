import type { Clock } from "#lib/clock.ts";
import { badRequest, forbidden } from "./answers.ts";
import type { Entity } from "./html.ts";

export type Json = Record<string, unknown>;

export interface User {
  id: number;
  is_bot: boolean;
  first_name: string;
  last_name?: string;
  username?: string;
  language_code?: string;
}

export type MemberStatus = "creator" | "administrator" | "member" | "left" | "kicked";

export interface Topic {
  name: string;
  closed: boolean;
  deleted: boolean;
}

/** A version of a message's content, in effect since `atMs`. */
export interface Version {
  atMs: number;
  /** Visible text or caption. */
  text: string;
  entities: Entity[];
  /** Text as it was sent, with its markup. */
  source: string;
  replyMarkup?: Json;
}

/** A message as Telegram stores it. */
export interface Stored {
  chatId: number;
  id: number;
  /** Of the forum's topic. */
  threadId?: number;
  from: User;
  atMs: number;
  kind: string;
  /** What the Bot API shows of it. */
  body: Json;
  /** The first one and each edit. */
  versions: Version[];
  deletedMs?: number;
  reaction?: string;
  /** Parameters of the call that sent it, when the bot did. */
  params?: Json;
}

export interface ChatState {
  id: number;
  type: "private" | "group" | "supergroup";
  title?: string;
  username?: string;
  forum: boolean;
  /** Of a private chat. */
  person?: User;
  members: Map<number, MemberStatus>;
  people: Map<number, User>;
  topics: Map<number, Topic>;
  generalClosed: boolean;
  messages: Map<number, Stored>;
  nextMessageId: number;
  /** Why the bot cannot write here any more. */
  shut?: "blocked" | "deactivated" | "deleted" | "kicked" | "left";
  migratedTo?: number;
  actions: { action: string; threadId?: number; atMs: number }[];
}

/** All that Telegram knows besides the updates: chats, people, messages. */
export class World {
  readonly clock: Clock;
  readonly bot: User & Json;
  readonly chats = new Map<number, ChatState>();
  readonly sent: Stored[] = [];
  #nextId: number;

  constructor(clock: Clock, bot: User & Json) {
    this.clock = clock;
    this.bot = bot;
    this.#nextId = 1000;
  }

  newId(): number {
    return this.#nextId++;
  }

  get date(): number {
    return Math.floor(this.clock.now() / 1000);
  }

  addChat(
    chat: Pick<ChatState, "id" | "type"> &
      Partial<Pick<ChatState, "title" | "username" | "forum" | "person">>,
  ): ChatState {
    const state: ChatState = {
      forum: false,
      members: new Map(),
      people: new Map(),
      topics: new Map(),
      generalClosed: false,
      messages: new Map(),
      // The first one made the chat.
      nextMessageId: 2,
      actions: [],
      ...chat,
    };
    this.chats.set(chat.id, state);
    return state;
  }

  /** The chat that a call names, if it exists and the bot may look at it. */
  find(name: string): ChatState {
    if (name === "") throw badRequest("chat_id is empty");
    const chat = name.startsWith("@")
      ? [...this.chats.values()].find(({ username }) => `@${username}` === name)
      : this.chats.get(Number(name));
    if (!chat) throw badRequest("chat not found");
    if (chat.migratedTo !== undefined) {
      throw badRequest("group chat was upgraded to a supergroup chat", {
        migrate_to_chat_id: chat.migratedTo,
      });
    }
    return chat;
  }

  /** The chat that a call wants to write to. */
  writable(name: string): ChatState {
    const chat = this.find(name);
    if (chat.shut) throw forbidden(refusal(chat));
    return chat;
  }

  /** Checks the forum's topic that a call names; undefined = none, or the general one. */
  checkTopic(chat: ChatState, threadId: number | undefined): void {
    if (threadId === undefined) {
      if (chat.forum && chat.generalClosed) throw badRequest("TOPIC_CLOSED");
      return;
    }
    const topic = chat.topics.get(threadId);
    if (!topic || topic.deleted) throw badRequest("message thread not found");
    if (topic.closed) throw badRequest("TOPIC_CLOSED");
  }

  message(chat: ChatState, id: number | undefined): Stored | undefined {
    const message = chat.messages.get(id ?? -1);
    return message?.deletedMs === undefined ? message : undefined;
  }

  store(chat: ChatState, message: Omit<Stored, "chatId" | "id" | "atMs">): Stored {
    const stored = {
      ...message,
      chatId: chat.id,
      id: chat.nextMessageId++,
      atMs: this.clock.now(),
    };
    chat.messages.set(stored.id, stored);
    if (message.from.id === this.bot.id) this.sent.push(stored);
    return stored;
  }

  /** The bot's messages in one chat, in the order they came. */
  sentTo(chatId: number): Stored[] {
    const messages = [...(this.chats.get(chatId)?.messages.values() ?? [])];
    return messages.filter(({ from }) => from.id === this.bot.id);
  }

  /** The chat as it stands in messages. */
  chatJson(chat: ChatState): Json {
    const { id, type, title, username, person } = chat;
    if (type !== "private") {
      return {
        id,
        type,
        title,
        ...(username && { username }),
        ...(chat.forum && { is_forum: true }),
      };
    }
    return {
      id,
      type,
      first_name: person?.first_name,
      ...(person?.username && { username: person.username }),
    };
  }

  /** The message as the Bot API gives it. */
  json(message: Stored): Json {
    const chat = this.chats.get(message.chatId);
    const version = message.versions.at(-1);
    const edited = message.versions.length > 1;
    const text = message.kind === "text" ? "text" : "caption";
    return {
      message_id: message.id,
      ...(message.threadId !== undefined && { message_thread_id: message.threadId }),
      ...(message.threadId !== undefined && chat?.forum && { is_topic_message: true }),
      from: message.from,
      chat: chat && this.chatJson(chat),
      date: Math.floor(message.atMs / 1000),
      ...(edited && { edit_date: Math.floor((version?.atMs ?? 0) / 1000) }),
      ...message.body,
      ...(version?.text && { [text]: version.text }),
      ...(version?.entities.length && {
        [text === "text" ? "entities" : "caption_entities"]: version.entities,
      }),
      ...(version?.replyMarkup && { reply_markup: version.replyMarkup }),
    };
  }
}

function refusal(chat: ChatState): string {
  const kind = chat.type === "supergroup" ? "supergroup chat" : "group chat";
  const words: Record<NonNullable<ChatState["shut"]>, string> = {
    blocked: "bot was blocked by the user",
    deactivated: "user is deactivated",
    deleted: "the group chat was deleted",
    kicked: `bot was kicked from the ${kind}`,
    left: `bot is not a member of the ${kind}`,
  };
  return words[chat.shut ?? "left"];
}
