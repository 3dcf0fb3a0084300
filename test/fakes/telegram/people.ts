import type { Telegram } from "./call.ts";
import type { Entity } from "./html.ts";
import { fileBody } from "./media.ts";
import type { ChatState, Json, MemberStatus, Stored, User } from "./world.ts";

/** A person with their private chat with the bot; `id` is both. */
export interface Person {
  id: number;
  user: User;
}

export interface Group {
  readonly id: number;
}

export interface SayOptions {
  /** Who writes; in a private chat its person. */
  from?: Person;
  replyTo?: Stored | number;
  /** A part of the original that the reply quotes. */
  quote?: string;
  topic?: number;
  /** Further fields of the message, such as `forward_origin`. */
  extra?: Json;
}

export interface FileOptions extends SayOptions {
  kind: "photo" | "document" | "voice" | "audio" | "video" | "video_note" | "animation" | "sticker";
  bytes: Buffer;
  name?: string;
  mime?: string;
  caption?: string;
  album?: string;
}

interface Post {
  kind: string;
  text?: string;
  body?: Json;
}

/** What people do in Telegram; each becomes an update for the bot, where Telegram would send one. */
export class People {
  readonly #telegram: Telegram;
  readonly #changed: () => void;

  constructor(telegram: Telegram, changed: () => void) {
    this.#telegram = telegram;
    this.#changed = changed;
  }

  person(name: string, facts: Partial<User> = {}): Person {
    const { world } = this.#telegram;
    const user = { id: world.newId(), is_bot: false, first_name: name, ...facts };
    world.addChat({ id: user.id, type: "private", person: user });
    return { id: user.id, user };
  }

  /** The bot is a member, and nobody else but those that are named. */
  group(
    title: string,
    options: {
      members?: Person[];
      type?: "group" | "supergroup";
      forum?: boolean;
      bot?: MemberStatus;
    } = {},
  ): Group {
    const { world } = this.#telegram;
    const forum = options.forum ?? false;
    const type = forum ? "supergroup" : (options.type ?? "supergroup");
    const id = type === "supergroup" ? -1_000_000_000_000 - world.newId() : -world.newId();
    const chat = world.addChat({ id, type, title, forum });
    for (const [index, { user }] of (options.members ?? []).entries()) {
      chat.people.set(user.id, user);
      chat.members.set(user.id, index === 0 ? "creator" : "member");
    }
    chat.members.set(world.bot.id, "left");
    this.#botMembership(chat, options.bot ?? "member", options.members?.[0]?.user);
    return { id };
  }

  /** Writes a text; returns the message. */
  say(where: Person | Group, text: string, options: SayOptions = {}): Stored {
    return this.#post(where, { kind: "text", text }, options);
  }

  /** Sends a file; returns the message. */
  send(where: Person | Group, options: FileOptions): Stored {
    const { kind, bytes, caption = "", album, mime = "application/octet-stream" } = options;
    const { files } = this.#telegram;
    const file = files.add({ name: options.name ?? `${kind}.bin`, mime, bytes }, `${kind}s`);
    const body = {
      ...fileBody(kind, file, files.json(file)),
      ...(album && { media_group_id: album }),
    };
    return this.#post(where, { kind, text: caption, body }, options);
  }

  /** Changes an own message. */
  edit(message: Stored, text: string): void {
    const { world, updates } = this.#telegram;
    const entities = entitiesOf(text);
    message.versions.push({ atMs: world.clock.now(), text, entities, source: text });
    if (this.#seesBot(message)) updates.push("edited_message", world.json(message));
    this.#changed();
  }

  /** Presses the button with this label or data; resolves with what the bot answers. */
  press(message: Stored, button: string, by: Person): Promise<Json> {
    const { world, updates, queries } = this.#telegram;
    const markup = message.versions.at(-1)?.replyMarkup as
      | { inline_keyboard?: { text: string; callback_data?: string }[][] }
      | undefined;
    const found = markup?.inline_keyboard
      ?.flat()
      .find(({ text, callback_data: data }) => text === button || data === button);
    if (!found || message.deletedMs !== undefined) {
      throw new Error(`message ${message.id} has no button ${button}`);
    }
    const { promise, resolve } = Promise.withResolvers<Json>();
    const id = String(world.newId());
    queries.set(id, { atMs: world.clock.now(), answer: resolve });
    updates.push("callback_query", {
      id,
      from: by.user,
      message: world.json(message),
      chat_instance: String(message.chatId),
      data: found.callback_data,
    });
    this.#changed();
    return promise;
  }

  /** Anything that Telegram tells about itself, such as `{ pinned_message: … }`. */
  service(where: Person | Group, body: Json, options: SayOptions = {}): Stored {
    return this.#post(where, { kind: "service", body }, options);
  }

  block(person: Person): void {
    this.#privateMembership(person, "kicked");
  }

  unblock(person: Person): void {
    this.#privateMembership(person, "member");
  }

  /** The person's account is gone. */
  deactivate(person: Person): void {
    this.#chat(person).shut = "deactivated";
  }

  deleteGroup(group: Group): void {
    this.#chat(group).shut = "deleted";
  }

  kickBot(group: Group, by?: Person): void {
    this.#botMembership(this.#chat(group), "kicked", by?.user);
    this.#chat(group).shut = "kicked";
  }

  join(group: Group, person: Person, status: MemberStatus = "member"): void {
    const chat = this.#chat(group);
    chat.people.set(person.id, person.user);
    chat.members.set(person.id, status);
  }

  /** The group becomes a supergroup of another id. */
  migrate(group: Group): Group {
    const { world } = this.#telegram;
    const old = this.#chat(group);
    const id = -1_000_000_000_000 - world.newId();
    const chat = world.addChat({ id, type: "supergroup", title: old.title ?? "" });
    chat.people = new Map(old.people);
    chat.members = new Map(old.members);
    this.service(group, { migrate_to_chat_id: id });
    old.migratedTo = id;
    this.service({ id }, { migrate_from_chat_id: group.id });
    return { id };
  }

  /** Returns the topic's id, which is that of the message that opened it. */
  topic(group: Group, name: string, by?: Person): number {
    const chat = this.#chat(group);
    const id = chat.nextMessageId;
    chat.topics.set(id, { name, closed: false, deleted: false });
    this.service(
      group,
      { forum_topic_created: { name, icon_color: 7_322_096 } },
      { topic: id, ...(by && { from: by }) },
    );
    return id;
  }

  closeTopic(group: Group, topic: number): void {
    const state = this.#chat(group).topics.get(topic);
    if (state) state.closed = true;
    this.service(group, { forum_topic_closed: {} }, { topic });
  }

  deleteTopic(group: Group, topic: number): void {
    const state = this.#chat(group).topics.get(topic);
    if (state) state.deleted = true;
  }

  closeGeneralTopic(group: Group): void {
    this.#chat(group).generalClosed = true;
  }

  #chat({ id }: { id: number }): ChatState {
    const chat = this.#telegram.world.chats.get(id);
    if (!chat) throw new Error(`no chat ${id}`);
    return chat;
  }

  #post(where: Person | Group, post: Post, options: SayOptions): Stored {
    const { world, updates } = this.#telegram;
    const { kind, text = "", body = {} } = post;
    const chat = this.#chat(where);
    const from = options.from?.user ?? chat.person ?? chat.people.values().next().value;
    if (!from) throw new Error(`nobody is in chat ${chat.id} to write`);
    const threadId = options.topic ?? rootOf(chat, options);
    const message = world.store(chat, {
      from,
      kind,
      body: { ...replyBody(this.#telegram, chat, options), ...body, ...options.extra },
      ...(threadId !== undefined && { threadId }),
      versions: [{ atMs: world.clock.now(), source: text, text, entities: entitiesOf(text) }],
    });
    if (this.#seesBot(message)) updates.push("message", world.json(message));
    this.#changed();
    return message;
  }

  /** In groups a bot with privacy mode sees what concerns it: commands, mentions, replies to it, service messages. */
  #seesBot(message: Stored): boolean {
    const { world } = this.#telegram;
    const chat = world.chats.get(message.chatId);
    if (!chat || chat.shut === "kicked" || chat.shut === "left") return false;
    if (chat.type === "private" || message.kind === "service") return true;
    const admin = chat.members.get(world.bot.id) === "administrator";
    if (admin || world.bot.can_read_all_group_messages) return true;
    const text = message.versions.at(-1)?.text ?? "";
    const name = String(world.bot.username).toLowerCase();
    const command = /^\/\w+(?:@(\w+))?/.exec(text);
    if (command) return !command[1] || command[1].toLowerCase() === name;
    const reply = message.body.reply_to_message as { from?: User } | undefined;
    return text.toLowerCase().includes(`@${name}`) || reply?.from?.id === world.bot.id;
  }

  #botMembership(chat: ChatState, status: MemberStatus, by: User | undefined): void {
    const { world, updates } = this.#telegram;
    const before = chat.members.get(world.bot.id) ?? "left";
    chat.members.set(world.bot.id, status);
    updates.push("my_chat_member", {
      chat: world.chatJson(chat),
      from: by ?? world.bot,
      date: world.date,
      old_chat_member: { user: world.bot, status: before },
      new_chat_member: { user: world.bot, status },
    });
    this.#changed();
  }

  #privateMembership(person: Person, status: "kicked" | "member"): void {
    const chat = this.#chat(person);
    if (status === "kicked") chat.shut = "blocked";
    else delete chat.shut;
    this.#botMembership(chat, status, person.user);
  }
}

/** In a supergroup without topics a reply carries the id of the message that its thread began with. */
function rootOf(chat: ChatState, { replyTo }: SayOptions): number | undefined {
  if (replyTo === undefined || chat.type !== "supergroup") return undefined;
  const id = typeof replyTo === "number" ? replyTo : replyTo.id;
  return chat.messages.get(id)?.threadId ?? (chat.forum ? undefined : id);
}

/** A message in a topic that replies to nothing shows the one that opened the topic. */
function replyBody(telegram: Telegram, chat: ChatState, options: SayOptions): Json {
  const id = typeof options.replyTo === "object" ? options.replyTo.id : options.replyTo;
  const original = chat.messages.get(id ?? options.topic ?? -1);
  if (!original) return {};
  const { reply_to_message: _, ...shown } = telegram.world.json(original);
  return {
    reply_to_message: shown,
    ...(options.quote && { quote: { text: options.quote, position: 0, is_manual: true } }),
  };
}

const FOUND: [RegExp, string][] = [
  [/(?<![\w/])\/\w{1,32}(?:@\w+)?/g, "bot_command"],
  [/(?<![\w@])@\w{4,32}/g, "mention"],
  [/https?:\/\/[^\s<>"]+/g, "url"],
];

/** What Telegram finds in a person's text by itself. */
function entitiesOf(text: string): Entity[] {
  return FOUND.flatMap(([pattern, type]) =>
    [...text.matchAll(pattern)].map(
      ({ index, 0: found }) => ({ type, offset: index, length: found.length }) as unknown as Entity,
    ),
  ).sort((a, b) => a.offset - b.offset);
}
