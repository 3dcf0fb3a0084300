import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Api, GrammyError, HttpError, InputFile } from "grammy";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type FakeTelegram, type Person, startTelegram } from "#test/fakes/telegram.ts";
import { ManualClock } from "#test/support/manual-clock.ts";

/** The fake, driven by the real client that the bot uses. */
let telegram: FakeTelegram;
let api: Api;
let ada: Person;
const clock = new ManualClock();
const closing: (() => unknown)[] = [];

beforeEach(async () => {
  telegram = await startTelegram({ clock, root: "/telegram" });
  api = new Api(telegram.token, { apiRoot: telegram.url });
  ada = telegram.people.person("Ada", { username: "ada_l" });
});
afterEach(async () => {
  await telegram.stop();
  for (const close of closing.splice(0)) await close();
});

/** As the client's types have it. */
type Signal = Parameters<Api["getUpdates"]>[1];

/** Code, description and parameters of the refusal. */
async function refusal(call: Promise<unknown>) {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof GrammyError)) throw new Error("not refused", { cause: error });
  const { error_code: code, description, parameters } = error;
  return { code, description, parameters };
}

const badRequest = (problem: string, parameters = {}) => ({
  code: 400,
  description: `Bad Request: ${problem}`,
  parameters,
});
const texts = (chat: { id: number }) =>
  telegram.sent(chat).map(({ versions }) => versions.at(-1)?.text);

describe("requests", () => {
  test("come as GET, form, JSON or multipart, below the root", async () => {
    const root = `${telegram.url}/bot${telegram.token}`;
    const form = new FormData();
    form.set("chat_id", String(ada.id));
    form.set("text", "multipart");
    const answers = [
      await fetch(`${root}/sendMessage?chat_id=${ada.id}&text=query`),
      await fetch(`${root}/sendmessage`, {
        method: "POST",
        body: new URLSearchParams({ chat_id: String(ada.id), text: "form" }),
      }),
      await fetch(`${root}/SendMessage`, { method: "POST", body: form }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    await clock.advance(10_000);
    await api.sendMessage(ada.id, "json");
    expect(texts(ada)).toEqual(["query", "form", "multipart", "json"]);
  });

  test("for another bot, another path or method are refused", async () => {
    const get = async (path: string) => {
      const response = await fetch(telegram.url + path);
      return [response.status, ((await response.json()) as { description: string }).description];
    };
    expect(await get("/bot1:wrong/getMe")).toEqual([401, "Unauthorized"]);
    expect(await get("/nothing")).toEqual([404, "Not Found"]);
    expect(await get(`/bot${telegram.token}/getNothing`)).toEqual([
      404,
      "Not Found: method not found",
    ]);
    expect(await api.getMe()).toMatchObject({ is_bot: true, username: "argus_test_bot" });
  });
});

describe("getUpdates", () => {
  const ids = async (...args: Parameters<Api["getUpdates"]>) =>
    (await api.getUpdates(...args)).map(({ update_id: id }) => id);

  test("gives what was not confirmed again, until an offset above it confirms it", async () => {
    for (const text of ["a", "b", "c"]) telegram.people.say(ada, text);
    const first = await ids();
    expect(first).toHaveLength(3);
    expect(await ids()).toEqual(first);
    expect(await ids({ limit: 2 })).toEqual(first.slice(0, 2));
    expect(await ids({ offset: first[1] ?? 0 })).toEqual(first.slice(1));
    expect(await ids({ offset: 0 })).toEqual(first.slice(1));
    expect(await ids({ offset: (first[2] ?? 0) + 1 })).toEqual([]);
    expect(telegram.pending()).toEqual([]);
  });

  test("with a negative offset keeps only the last ones", async () => {
    for (const text of ["a", "b", "c"]) telegram.people.say(ada, text);
    expect(await ids({ offset: -1 })).toHaveLength(1);
    expect(telegram.pending()).toHaveLength(1);
  });

  test("waits for the next update, at most as long as it was asked to", async () => {
    const poll = api.getUpdates({ timeout: 30 });
    await telegram.waitFor("the poll", () => telegram.polled());
    telegram.people.say(ada, "hello");
    expect((await poll)[0]?.message).toMatchObject({
      text: "hello",
      chat: { id: ada.id, type: "private" },
    });
    const [last] = telegram.pending() as { update_id: number }[];
    const idle = api.getUpdates({ offset: (last?.update_id ?? 0) + 1, timeout: 30 });
    await telegram.waitFor("the poll", () => telegram.polled());
    await clock.advance(30_000);
    expect(await idle).toEqual([]);
  });

  test("ends the one before it with a conflict", async () => {
    const older = refusal(api.getUpdates({ timeout: 30 }));
    await telegram.waitFor("the poll", () => telegram.polled());
    const newer = api.getUpdates({ timeout: 30 });
    expect(await older).toEqual({
      code: 409,
      description:
        "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
      parameters: {},
    });
    telegram.people.say(ada, "a");
    expect(await newer).toHaveLength(1);
  });

  test("loses nothing to a client that left", async () => {
    const leave = new AbortController();
    const left = api.getUpdates({ timeout: 30 }, leave.signal as Signal).catch(() => "left");
    await telegram.waitFor("the poll", () => telegram.polled());
    leave.abort();
    expect(await left).toBe("left");
    telegram.people.say(ada, "a");
    expect(await ids()).toHaveLength(1);
  });

  test("gives only what was asked for, from then on", async () => {
    telegram.people.say(ada, "before");
    await api.getUpdates({ allowed_updates: ["callback_query"] });
    telegram.people.say(ada, "after");
    expect(telegram.pending()).toHaveLength(1);
    await api.getUpdates({ allowed_updates: [] });
    telegram.people.say(ada, "all");
    expect(telegram.push("message_reaction", {})).toBeUndefined();
    expect(telegram.pending()).toHaveLength(2);
  });

  test("keeps updates for a day", async () => {
    telegram.people.say(ada, "old");
    await clock.advance(24 * 60 * 60 * 1000 - 1);
    expect(telegram.pending()).toHaveLength(1);
    await clock.advance(1);
    expect(telegram.pending()).toHaveLength(0);
  });
});

describe("webhooks", () => {
  /** A bot's endpoint that answers with these, then with 200. */
  async function endpoint(...statuses: number[]) {
    const got: { secret: unknown; body: { update_id: number; message: { text: string } } }[] = [];
    const take = async (request: IncomingMessage, response: ServerResponse) => {
      const body = Buffer.concat(
        await Array.fromAsync(request as AsyncIterable<Buffer>),
      ).toString();
      got.push({
        secret: request.headers["x-telegram-bot-api-secret-token"],
        body: JSON.parse(body),
      });
      response.writeHead(statuses.shift() ?? 200).end();
    };
    const server = createServer((request, response) => void take(request, response));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    closing.push(() => server.close());
    return { got, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook` };
  }

  test("get each update by POST, with the secret, again until they take it", async () => {
    const { got, url } = await endpoint(500, 503);
    telegram.people.say(ada, "a");
    await api.setWebhook(url, { secret_token: "s3cret" });
    await expect.poll(() => got.length).toBe(2);
    expect(await api.getWebhookInfo()).toMatchObject({ url, pending_update_count: 1 });
    await expect.poll(() => clock.sleepers).toBe(1);
    await clock.advance(2000);
    await expect.poll(() => telegram.pending().length).toBe(0);
    expect(new Set(got.map(({ body }) => body.update_id)).size).toBe(1);
    expect(got[0]).toMatchObject({ secret: "s3cret", body: { message: { text: "a" } } });
    telegram.people.say(ada, "b");
    await expect.poll(() => got.at(-1)?.body.message.text).toBe("b");
  });

  test("and getUpdates exclude each other", async () => {
    const { url } = await endpoint();
    const poll = refusal(api.getUpdates({ timeout: 30 }));
    await telegram.waitFor("the poll", () => telegram.polled());
    await api.setWebhook(url);
    expect((await poll).description).toBe("Conflict: terminated by setWebhook request");
    expect((await refusal(api.getUpdates())).description).toBe(
      "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
    );
    await api.deleteWebhook();
    expect(await api.getUpdates()).toEqual([]);
    expect(await api.getWebhookInfo()).toMatchObject({ url: "" });
  });
});

describe("messages", () => {
  test("are parsed, shown, edited and deleted", async () => {
    const sent = await api.sendMessage(ada.id, "<b>Hi</b> &amp; bye", { parse_mode: "HTML" });
    expect(sent).toMatchObject({
      text: "Hi & bye",
      entities: [{ type: "bold", offset: 0, length: 2 }],
    });
    const edit = () => api.editMessageText(ada.id, sent.message_id, "two");
    expect(await edit()).toMatchObject({ text: "two", edit_date: expect.any(Number) });
    expect((await refusal(edit())).description).toMatch(/^Bad Request: message is not modified: /);
    expect(telegram.sent(ada)[0]?.versions.map(({ text }) => text)).toEqual(["Hi & bye", "two"]);
    await api.deleteMessage(ada.id, sent.message_id);
    expect(telegram.sent(ada)).toEqual([]);
    expect(telegram.everSent).toHaveLength(1);
    await clock.advance(10_000);
    expect(await refusal(api.editMessageText(ada.id, sent.message_id, "x"))).toEqual(
      badRequest("message to edit not found"),
    );
    expect(await refusal(api.deleteMessage(ada.id, sent.message_id))).toEqual(
      badRequest("message to delete not found"),
    );
  });

  test("are refused in Telegram's words", async () => {
    const html = { parse_mode: "HTML" } as const;
    const theirs = telegram.people.say(ada, "mine");
    expect(await refusal(api.sendMessage(ada.id, ""))).toEqual(badRequest("message text is empty"));
    expect(await refusal(api.sendMessage(ada.id, "<b> </b>", html))).toEqual(
      badRequest("text must be non-empty"),
    );
    expect(await refusal(api.sendMessage(ada.id, "<x>", html))).toEqual(
      badRequest(`can't parse entities: Unsupported start tag "x" at byte offset 0`),
    );
    expect(await refusal(api.sendMessage(ada.id, "x".repeat(4097)))).toEqual(
      badRequest("message is too long"),
    );
    expect(await refusal(api.sendMessage(ada.id, "&#x1F600;".repeat(2049), html))).toEqual(
      badRequest("message is too long"),
    );
    expect(await refusal(api.sendMessage(ada.id, "<b></b>".repeat(5000), html))).toEqual(
      badRequest("text is too long"),
    );
    expect(await refusal(api.sendMessage(1, "x"))).toEqual(badRequest("chat not found"));
    expect(await refusal(api.sendMessage(ada.id, "x", { message_thread_id: 7 }))).toEqual(
      badRequest("message thread not found"),
    );
    expect(
      await refusal(api.sendMessage(ada.id, "x", { reply_parameters: { message_id: 99 } })),
    ).toEqual(badRequest("message to be replied not found"));
    expect(await refusal(api.editMessageText(ada.id, theirs.id, "x"))).toEqual(
      badRequest("message can't be edited"),
    );
    expect(
      await refusal(
        api.sendMessage(ada.id, "x", {
          reply_markup: { inline_keyboard: [[{ text: "a", callback_data: "x".repeat(65) }]] },
        }),
      ),
    ).toEqual(badRequest("BUTTON_DATA_INVALID"));
    expect(telegram.sent(ada)).toEqual([]);
    // The longest that are taken.
    await api.sendMessage(ada.id, "&lt;".repeat(4096), html);
    await api.sendMessage(ada.id, "😀".repeat(2048));
    expect(telegram.sent(ada)).toHaveLength(2);
  });

  test("do not reach who blocked the bot, is gone, or moved", async () => {
    const group = telegram.people.group("Old", { type: "group", members: [ada] });
    const other = telegram.people.group("Other", { members: [ada] });
    const moved = telegram.people.migrate(group);
    expect(await refusal(api.sendMessage(group.id, "x"))).toEqual(
      badRequest("group chat was upgraded to a supergroup chat", { migrate_to_chat_id: moved.id }),
    );
    await api.sendMessage(moved.id, "x");
    telegram.people.block(ada);
    expect(await refusal(api.sendMessage(ada.id, "x"))).toMatchObject({
      code: 403,
      description: "Forbidden: bot was blocked by the user",
    });
    telegram.people.unblock(ada);
    await api.sendMessage(ada.id, "x");
    telegram.people.deactivate(ada);
    expect((await refusal(api.sendMessage(ada.id, "x"))).description).toBe(
      "Forbidden: user is deactivated",
    );
    telegram.people.kickBot(other);
    expect((await refusal(api.sendMessage(other.id, "x"))).description).toBe(
      "Forbidden: bot was kicked from the supergroup chat",
    );
    await api.leaveChat(moved.id);
    expect((await refusal(api.sendMessage(moved.id, "x"))).description).toBe(
      "Forbidden: bot is not a member of the supergroup chat",
    );
    telegram.people.deleteGroup(moved);
    expect((await refusal(api.sendMessage(moved.id, "x"))).description).toBe(
      "Forbidden: the group chat was deleted",
    );
  });

  test("go to topics that are open", async () => {
    const forum = telegram.people.group("Forum", { forum: true, members: [ada] });
    const topic = telegram.people.topic(forum, "Work");
    const into = (id: number) => api.sendMessage(forum.id, "x", { message_thread_id: id });
    expect(await into(topic)).toMatchObject({ message_thread_id: topic, is_topic_message: true });
    await api.sendMessage(forum.id, "general");
    expect(await refusal(into(1))).toEqual(badRequest("message thread not found"));
    await api.sendChatAction(forum.id, "typing", { message_thread_id: 1 });
    expect(telegram.actions(forum)).toMatchObject([{ action: "typing", threadId: 1 }]);
    telegram.people.closeTopic(forum, topic);
    expect(await refusal(into(topic))).toEqual(badRequest("TOPIC_CLOSED"));
    telegram.people.deleteTopic(forum, topic);
    expect(await refusal(into(topic))).toEqual(badRequest("message thread not found"));
    telegram.people.closeGeneralTopic(forum);
    expect(await refusal(api.sendMessage(forum.id, "x"))).toEqual(badRequest("TOPIC_CLOSED"));
  });
});

describe("what people do", () => {
  const updates = async () => {
    const got = await api.getUpdates();
    await api.getUpdates({ offset: (got.at(-1)?.update_id ?? 0) + 1 });
    return got;
  };

  test("in groups reaches a bot with privacy mode only when it concerns the bot", async () => {
    const bob = telegram.people.person("Bob");
    const group = telegram.people.group("Team", { members: [ada, bob] });
    const own = await api.sendMessage(group.id, "mine");
    const says = (text: string, replyTo?: number) =>
      telegram.people.say(group, text, { from: bob, ...(replyTo && { replyTo }) });
    await updates();
    says("nothing");
    says("@argus_test_bot hello");
    says("/status");
    says("/status@other_bot");
    says("/status@argus_test_bot now");
    says("yes", own.message_id);
    const got = (await updates()).map(({ message }) => message);
    expect(got.map((message) => message?.text)).toEqual([
      "@argus_test_bot hello",
      "/status",
      "/status@argus_test_bot now",
      "yes",
    ]);
    expect(got[2]?.entities).toEqual([{ type: "bot_command", offset: 0, length: 22 }]);
    // In a supergroup without topics a reply has a thread, and is in no topic.
    expect(got[3]).toMatchObject({
      message_thread_id: own.message_id,
      reply_to_message: { text: "mine" },
    });
    expect(got[3]).not.toHaveProperty("is_topic_message");
  });

  test("in a topic shows the message that opened it as replied to", async () => {
    const forum = telegram.people.group("Forum", {
      forum: true,
      members: [ada],
      bot: "administrator",
    });
    const topic = telegram.people.topic(forum, "Work");
    await updates();
    telegram.people.say(forum, "hello", { topic });
    const [update] = await updates();
    expect(update?.message).toMatchObject({
      message_thread_id: topic,
      is_topic_message: true,
      chat: { is_forum: true },
      reply_to_message: { forum_topic_created: { name: "Work" } },
    });
  });

  test("edits, blocks, group changes and any other update arrive", async () => {
    const message = telegram.people.say(ada, "a");
    telegram.people.edit(message, "b");
    telegram.people.block(ada);
    telegram.people.group("New", { members: [ada] });
    telegram.push("poll", { id: "1" });
    const got = await updates();
    expect(got.map((update) => Object.keys(update)[1])).toEqual([
      "message",
      "edited_message",
      "my_chat_member",
      "my_chat_member",
      "poll",
    ]);
    expect(got[1]?.edited_message).toMatchObject({ text: "b", message_id: message.id });
    expect(got[2]?.my_chat_member?.new_chat_member.status).toBe("kicked");
  });

  test("a pressed button asks the bot, once", async () => {
    const keyboard = { inline_keyboard: [[{ text: "Yes", callback_data: "y" }]] };
    const sent = await api.sendMessage(ada.id, "Sure?", { reply_markup: keyboard });
    const stored = telegram.sent(ada)[0];
    if (!stored) throw new Error("not sent");
    const answered = telegram.people.press(stored, "Yes", ada);
    const query = (await updates()).at(-1)?.callback_query;
    expect(query).toMatchObject({ data: "y", from: { id: ada.id }, message: { text: "Sure?" } });
    await api.answerCallbackQuery(query?.id ?? "", { text: "ok" });
    expect(await answered).toMatchObject({ text: "ok" });
    expect((await refusal(api.answerCallbackQuery(query?.id ?? ""))).description).toMatch(
      /^Bad Request: query is too old/,
    );
    await api.editMessageReplyMarkup(ada.id, sent.message_id);
    expect(() => telegram.people.press(stored, "Yes", ada)).toThrow("no button");
  });
});

describe("files", () => {
  const png = Buffer.from("\x89PNG\r\n\x1a\n rest", "latin1");

  test("from people are downloaded", async () => {
    const bytes = Buffer.from("hello");
    telegram.people.send(ada, {
      kind: "document",
      bytes,
      name: "a.txt",
      mime: "text/plain",
      caption: "see",
    });
    telegram.people.send(ada, { kind: "photo", bytes: png });
    telegram.people.send(ada, { kind: "voice", bytes: Buffer.alloc(20 * 1024 * 1024 + 1) });
    const [document, photo, voice] = (await api.getUpdates()).map(({ message }) => message);
    expect(document).toMatchObject({
      caption: "see",
      document: { file_name: "a.txt", mime_type: "text/plain", file_size: 5 },
    });
    expect(photo?.photo).toHaveLength(2);
    const { file_path: path } = await api.getFile(document?.document?.file_id ?? "");
    const response = await fetch(`${telegram.url}/file/bot${telegram.token}/${path}`);
    expect(await response.text()).toBe("hello");
    expect(await refusal(api.getFile(voice?.voice?.file_id ?? ""))).toEqual(
      badRequest("file is too big"),
    );
    expect(await refusal(api.getFile("nonsense"))).toEqual(badRequest("invalid file_id"));
    expect((await fetch(`${telegram.url}/file/bot${telegram.token}/no/such`)).status).toBe(404);
  });

  test("from the bot are stored, as photo, document, voice or album", async () => {
    const document = await api.sendDocument(ada.id, new InputFile(Buffer.from("data"), "a.csv"), {
      caption: "<i>c</i>",
      parse_mode: "HTML",
    });
    expect(document).toMatchObject({
      caption: "c",
      document: { file_name: "a.csv", file_size: 4 },
    });
    expect(telegram.file(document.document.file_id).toString()).toBe("data");
    // A file that Telegram has is sent by its id.
    await api.sendDocument(ada.id, document.document.file_id);
    await api.sendPhoto(ada.id, new InputFile(png, "a.png"));
    await clock.advance(10_000);
    await api.sendVoice(ada.id, new InputFile(Buffer.from("OggS"), "a.ogg"));
    const album = await api.sendMediaGroup(ada.id, [
      { type: "photo", media: new InputFile(png) },
      { type: "photo", media: new InputFile(png), caption: "two" },
    ]);
    const groups = telegram.sent(ada).map(({ body }) => body.media_group_id);
    expect([album.length, groups.at(-1)]).toEqual([2, groups.at(-2)]);
    expect(telegram.sent(ada).map(({ kind }) => kind)).toEqual([
      "document",
      "document",
      "photo",
      "voice",
      "photo",
      "photo",
    ]);
    await clock.advance(10_000);
    expect(await refusal(api.sendPhoto(ada.id, new InputFile(Buffer.from("text"))))).toEqual(
      badRequest("IMAGE_PROCESS_FAILED"),
    );
    expect(
      (
        await refusal(
          api.sendPhoto(
            ada.id,
            new InputFile(Buffer.concat([png, Buffer.alloc(10 * 1024 * 1024)])),
          ),
        )
      ).description,
    ).toMatch(/is too big for a photo/);
    expect(
      (await refusal(api.sendDocument(ada.id, new InputFile(Buffer.alloc(52 * 1024 * 1024))))).code,
    ).toBe(413);
  });
});

test("commands, chats and reactions", async () => {
  const commands = [{ command: "help", description: "What I can do" }];
  await api.setMyCommands(commands);
  await api.setMyCommands([], { scope: { type: "all_group_chats" } });
  expect(await api.getMyCommands()).toEqual(commands);
  expect(await refusal(api.setMyCommands([{ command: "Bad!", description: "x" }]))).toEqual(
    badRequest("BOT_COMMAND_INVALID"),
  );
  const group = telegram.people.group("Team", { members: [ada] });
  expect(await api.getChat(group.id)).toMatchObject({
    id: group.id,
    title: "Team",
    type: "supergroup",
  });
  expect(await api.getChatMember(group.id, ada.id)).toMatchObject({ status: "creator" });
  expect(await refusal(api.getChatMember(group.id, 1))).toEqual(badRequest("member not found"));
  const message = telegram.people.say(ada, "hi");
  await api.setMessageReaction(ada.id, message.id, [{ type: "emoji", emoji: "👍" }]);
  expect(message.reaction).toBe("👍");
});

describe("rates", () => {
  const limited = (retryAfter: number) => ({
    code: 429,
    description: `Too Many Requests: retry after ${retryAfter}`,
    parameters: { retry_after: retryAfter },
  });

  test("one chat: three at once, then one a second", async () => {
    for (let n = 0; n < 3; n++) await api.sendMessage(ada.id, `${n}`);
    expect(await refusal(api.sendMessage(ada.id, "x"))).toEqual(limited(1));
    await clock.advance(1000);
    const sent = await api.sendMessage(ada.id, "x");
    expect(await refusal(api.editMessageText(ada.id, sent.message_id, "y"))).toEqual(limited(1));
    expect(telegram.refused).toHaveLength(2);
    // A body that Telegram refuses costs nothing, and so does typing in one chat.
    await api.sendChatAction(ada.id, "typing");
    await clock.advance(1000);
    await api.editMessageText(ada.id, sent.message_id, "y");
  });

  test("a group: twenty a minute", async () => {
    const group = telegram.people.group("Team", { members: [ada] });
    for (let n = 0; n < 20; n++) {
      await api.sendMessage(group.id, `${n}`);
      await clock.advance(2000);
    }
    expect(await refusal(api.sendMessage(group.id, "x"))).toEqual(limited(20));
    await clock.advance(20_000);
    await api.sendMessage(group.id, "x");
  });

  test("all chats: thirty a second", async () => {
    const people = Array.from({ length: 31 }, (_, n) => telegram.people.person(`P${n}`));
    for (const { id } of people.slice(0, 30)) await api.sendMessage(id, "x");
    expect(await refusal(api.sendMessage(people[30]?.id ?? 0, "x"))).toEqual(limited(1));
    await clock.advance(34);
    await api.sendMessage(people[30]?.id ?? 0, "x");
  });
});

describe("faults", () => {
  test("are answered before or after the effect", async () => {
    telegram.faults.add({ method: "sendMessage", fault: { status: 502 } });
    telegram.faults.add({ method: "sendMessage", skip: 1, fault: { status: 500, when: "after" } });
    expect(await refusal(api.sendMessage(ada.id, "a"))).toMatchObject({
      code: 502,
      description: "Bad Gateway",
    });
    await api.sendMessage(ada.id, "b");
    expect((await refusal(api.sendMessage(ada.id, "c"))).code).toBe(500);
    expect(texts(ada)).toEqual(["b", "c"]);
    telegram.faults.add({ fault: { retryAfter: 7 } });
    expect(await refusal(api.sendMessage(ada.id, "d"))).toMatchObject({
      code: 429,
      parameters: { retry_after: 7 },
    });
  });

  test("cut the connection before or after the effect", async () => {
    telegram.faults.add({ fault: { cut: "before" } });
    await expect(api.sendMessage(ada.id, "a")).rejects.toThrow(HttpError);
    expect(texts(ada)).toEqual([]);
    telegram.faults.add({ fault: { cut: "after" } });
    await expect(api.sendMessage(ada.id, "b")).rejects.toThrow(HttpError);
    expect(texts(ada)).toEqual(["b"]);
    expect(telegram.calls.map(({ effect, fault }) => [effect, fault])).toEqual([
      [false, { cut: "before" }],
      [true, { cut: "after" }],
    ]);
  });

  test("leave a request without an answer", async () => {
    telegram.faults.add({ fault: { hang: "after" } });
    const leave = new AbortController();
    const hanging = api.sendMessage(ada.id, "a", {}, leave.signal as Signal).catch(() => "left");
    await telegram.waitFor("the effect", () => texts(ada).length === 1);
    leave.abort();
    expect(await hanging).toBe("left");
  });

  test("strike by chance, the same ones for the same seed", async () => {
    const pattern = async () => {
      const own = await startTelegram({
        seed: 7,
        rates: { chatBurst: 1000, overallPerSecond: 1000 },
      });
      closing.push(() => own.stop());
      const person = own.people.person("P");
      own.faults.add({ chance: 0.5, fault: { status: 500 } });
      const client = new Api(own.token, { apiRoot: own.url });
      const outcomes: boolean[] = [];
      for (let n = 0; n < 40; n++) {
        outcomes.push(
          await client.sendMessage(person.id, "x").then(
            () => true,
            () => false,
          ),
        );
      }
      return outcomes;
    };
    const first = await pattern();
    expect(new Set(first).size).toBe(2);
    expect(await pattern()).toEqual(first);
  });

  test("take the network away and bring it back", async () => {
    const poll = api.getUpdates({ timeout: 30 }).catch((error: unknown) => error);
    await telegram.waitFor("the poll", () => telegram.polled());
    await telegram.goDown();
    expect(await poll).toBeInstanceOf(HttpError);
    await expect(api.getMe()).rejects.toThrow(HttpError);
    await telegram.comeBack();
    expect((await api.getMe()).id).toBe(4242);
  });

  test("end a download in its middle", async () => {
    telegram.people.send(ada, { kind: "document", bytes: Buffer.alloc(100_000) });
    const [update] = await api.getUpdates();
    const { file_path: path } = await api.getFile(update?.message?.document?.file_id ?? "");
    telegram.faults.add({ method: "download", fault: { cut: "after" } });
    const download = async () =>
      (await (await fetch(`${telegram.url}/file/bot${telegram.token}/${path}`)).arrayBuffer())
        .byteLength;
    await expect(download()).rejects.toThrow();
    expect(await download()).toBe(100_000);
  });
});
