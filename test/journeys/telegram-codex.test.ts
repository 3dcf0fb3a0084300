import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FakeModel, startFakeModel } from "#test/fakes/model.ts";
import {
  type FakeTelegram,
  type Person,
  type Stored,
  startTelegram,
} from "#test/fakes/telegram.ts";
import { ArgusUp } from "#test/support/argus-up.ts";
import { eventually } from "#test/support/eventually.ts";
import { telegramEnv } from "#test/support/telegram-env.ts";
import { TINY_JPEG } from "#test/support/tiny-jpeg.ts";
import { UpSessions } from "#test/support/up-sessions.ts";

// What people see in Telegram, with the real Codex behind it and a model on loopback.

const KEY = "sk-test-model-key";
const NAME = "@argus_test_bot";
let model: FakeModel;
let telegram: FakeTelegram;
let up: ArgusUp;
let ada: Person;
let bob: Person;

beforeAll(async () => {
  model = await startFakeModel({ requireKey: KEY });
  telegram = await startTelegram();
  ada = telegram.people.person("Ada");
  bob = telegram.people.person("Bob");
  up = await ArgusUp.start({
    env: {
      ARGUS_MODEL_UPSTREAM: model.url,
      ARGUS_MODEL_KEY: KEY,
      ARGUS_MODEL: "gpt-6-luna",
      ...telegramEnv(telegram, ada),
      ARGUS_TELEGRAM_MEMBERS: String(bob.id),
    },
  });
  await telegram.waitFor("the poll", () => telegram.polled(), 60_000);
}, 120_000);
afterAll(async () => {
  await up?.destroy();
  await telegram?.stop();
  await model?.close();
});

const shown = ({ versions }: Stored) => versions.at(-1)?.text ?? "";
const messages = (where: { id: number }, words: RegExp) =>
  telegram.sent(where).filter((message) => words.test(shown(message)));
const heard = (where: { id: number }, words: RegExp) =>
  telegram.waitFor(`${where.id} reads ${words}`, () => messages(where, words)[0], 60_000);
const requestWith = (words: string) =>
  model.requests.find(({ body }) => JSON.stringify(body).includes(words));

/** A while after the last answer nothing more may come, and no status message is left. */
async function isAllSaid(where: { id: number }, words: RegExp): Promise<void> {
  await delay(1500);
  expect(messages(where, words)).toHaveLength(1);
  expect(messages(where, /⏳/)).toEqual([]);
}

test("a person chats: typing is shown, one answer comes, and the agent remembers what was said", async () => {
  telegram.people.say(ada, "my dog is called Rex");
  await heard(ada, /You said: my dog is called Rex/);
  expect(telegram.actions(ada).map(({ action }) => action)).toContain("typing");
  telegram.people.say(ada, "what is its name?");
  await heard(ada, /You said: what is its name/);
  expect(JSON.stringify(requestWith("what is its name?")?.body)).toContain("called Rex");
  await isAllSaid(ada, /what is its name/);
}, 120_000);

test("a photo is seen by the model", async () => {
  telegram.people.send(ada, { kind: "photo", bytes: TINY_JPEG, caption: "what is on this?" });
  await heard(ada, /what is on this/);
  const asked = JSON.stringify(requestWith("what is on this?")?.body);
  expect(asked).toContain('"type":"input_image"');
  const [, type, data = ""] = /"image_url":"data:image\/(\w+);base64,([^"]+)"/.exec(asked) ?? [];
  expect(type).toMatch(/jpeg|png/);
  expect(Buffer.from(data, "base64").length).toBeGreaterThan(50);
  await isAllSaid(ada, /what is on this/);
}, 120_000);

test("a voice message lands in the workspace as it was, and nobody listens to it unasked", async () => {
  const bytes = randomBytes(20_000);
  const before = model.requests.length;
  telegram.people.send(ada, { kind: "voice", bytes, mime: "audio/ogg", caption: "listen to this" });
  await heard(ada, /listen to this/);
  const asked = JSON.stringify(model.requests.slice(before).map(({ body }) => body));
  const path = /audio: (\/[^\s"\\]+)/.exec(asked)?.[1] ?? "";
  expect((await readFile(path)).equals(bytes)).toBe(true);
  expect(asked).not.toContain("input_audio");
  expect(model.requests.slice(before).every((each) => each.path.endsWith("/responses"))).toBe(true);
}, 120_000);

test("a long answer with code comes in parts whose code is code, and nothing of it is missing", async () => {
  telegram.people.say(ada, "code: 300");
  await heard(ada, /That is all of it/);
  const all = telegram.sent(ada);
  const first = all.findIndex((message) => shown(message).startsWith("Here is the code"));
  const parts = all.slice(first);
  expect(parts.length).toBeGreaterThan(2);
  for (const part of parts) {
    expect(shown(part).length).toBeLessThanOrEqual(4096);
    expect(part.versions.at(-1)?.entities.map(({ type }) => type)).toContain("pre");
  }
  const text = parts.map(shown).join("\n");
  const values = [...text.matchAll(/const value(\d+) = "<\1 & more>";/g)].map(([, at]) =>
    Number(at),
  );
  expect(values).toEqual(Array.from({ length: 300 }, (_, index) => index));
  expect(text).not.toContain("```");
  await isAllSaid(ada, /That is all of it/);
}, 120_000);

test("a file that the agent made comes to the chat when its answer names it", async () => {
  telegram.people.say(ada, "run: seq 1 1000 > numbers.txt; echo made");
  await heard(ada, /made\s*$/);
  telegram.people.say(ada, "send me the numbers\nMEDIA: numbers.txt");
  await heard(ada, /send me the numbers$/);
  const file = await telegram.waitFor("the file", () =>
    telegram.sent(ada).find(({ kind }) => kind === "document"),
  );
  const { file_id: id = "", file_name: name } = file.body["document"] as Record<string, string>;
  expect(name).toBe("numbers.txt");
  const lines = Array.from({ length: 1000 }, (_, index) => `${index + 1}\n`);
  expect(telegram.file(id).toString()).toBe(lines.join(""));
}, 120_000);

test("the agent asks before it runs what nobody allowed: the press of a button decides, and the chat keeps who did", async () => {
  const carol = telegram.people.person("Carol");
  const yaml = `
apiVersion: argus.dev/v1alpha1
kind: ArgusSession
metadata: { name: careful }
spec: { approvals: untrusted, heartbeat: { intervalSeconds: 0 } }
`;
  await up.kubectl(["apply", "-f", "-"], yaml);
  const own = new UpSessions(up);
  await own.call("careful", "chat/bind", { session: "careful", chat: `telegram:${carol.id}` });
  await letIn(carol);
  for (const [button, isDone] of [
    ["Allow", true],
    ["Refuse", false],
  ] as const) {
    telegram.people.say(carol, `run: touch ${button} && echo done-${button}`);
    const question = await heard(carol, new RegExp(`❓[^]*touch ${button}`));
    expect(shown(question)).not.toContain("bash -lc");
    await telegram.people.press(question, button, carol);
    await telegram.waitFor("who decided", () => shown(question).endsWith(`${button}: Carol`));
    const answers = () => messages(carol, /The command said/);
    await telegram.waitFor("the answer", () => answers().length > (isDone ? 0 : 1), 60_000);
    expect(/done-\w+\s*$/.test(shown(answers().at(-1) as Stored))).toBe(isDone);
  }
}, 180_000);

/** By the code that a stranger is shown. */
async function letIn(who: Person): Promise<void> {
  telegram.people.say(who, "hello?");
  const [code = ""] = /[A-Z2-9]{8}/.exec(shown(await heard(who, /code/))) ?? [];
  telegram.people.say(ada, `/approve ${code}`);
  await heard(ada, new RegExp(`${who.user.first_name} may write`));
}

test("/stop ends a running command, and the chat says so once", async () => {
  telegram.people.say(ada, "run: sleep 4321");
  await heard(ada, /⏳.*sleep 4321/);
  expect(up.find("sleep 4321").length).toBeGreaterThan(0);
  telegram.people.say(ada, "/stop");
  await heard(ada, /⏹/);
  await eventually("the command has ended", () => up.find("sleep 4321").length === 0);
  await isAllSaid(ada, /⏹/);
  telegram.people.say(ada, "are you there?");
  await heard(ada, /You said: are you there/);
}, 120_000);

test("a schedule's words come to the chat", async () => {
  const cron = `
apiVersion: argus.dev/v1alpha1
kind: ArgusCron
metadata: { name: morning }
spec: { schedule: "*/5 * * * * *", sessionRef: { name: main }, event: { text: "time to water the plants" } }
`;
  await up.kubectl(["apply", "-f", "-"], cron);
  await heard(ada, /time to water the plants/);
  await up.kubectl(["delete", "acron", "morning"]);
}, 120_000);

test("a heartbeat that needs the person is told, one that does not is silent", async () => {
  telegram.people.say(ada, "run: echo 'tell: the disk is nearly full' > HEARTBEAT.md");
  await heard(ada, /The command said/);
  telegram.people.say(ada, "/heartbeat");
  await heard(ada, /the disk is nearly full/);
  telegram.people.say(ada, "run: echo '- look after the plants' > HEARTBEAT.md; echo written");
  await heard(ada, /written\s*$/);
  const count = telegram.sent(ada).length;
  telegram.people.say(ada, "/heartbeat");
  await model.waitFor(({ words, ended }) => words === "HEARTBEAT_OK" && ended);
  telegram.people.say(ada, "still awake?");
  await heard(ada, /still awake/);
  const said = telegram.sent(ada).slice(count).map(shown);
  expect(said.join("\n")).not.toContain("HEARTBEAT_OK");
  expect(said).toHaveLength(2);
}, 180_000);

test("two people at once each get their own answer, and neither waits for the other", async () => {
  telegram.people.say(bob, "good morning from bob");
  await heard(bob, /good morning from bob/);
  const before = model.requests.length;
  telegram.people.say(ada, "slow: 60");
  telegram.people.say(bob, "slow: 61");
  const running = () => model.requests.slice(before).filter(({ ended }) => !ended).length;
  await eventually("both turns run", () => running() === 2);
  await heard(ada, /word60 ?$/);
  await heard(bob, /word61 ?$/);
  expect(messages(ada, /word61|bob/)).toEqual([]);
  expect(messages(bob, /word60 ?$|Rex|plants|disk/)).toEqual([]);
  expect(
    JSON.stringify(model.requests.findLast(({ words }) => words === "slow: 61")?.body),
  ).not.toContain("Rex");
}, 180_000);

test("in a group with topics each topic is a conversation of its own", async () => {
  const group = telegram.people.group("Garden", { members: [ada, bob], forum: true });
  const [roses, taxes] = [
    telegram.people.topic(group, "Roses", ada),
    telegram.people.topic(group, "Taxes", ada),
  ];
  telegram.people.say(group, `/start${NAME}`, { from: ada, topic: roses });
  await heard(group, /I am here/);
  telegram.people.say(group, "nobody asked the bot", { from: bob, topic: roses });
  const asks = { from: bob, topic: roses };
  const question = telegram.people.say(group, `${NAME} the red ones are dry`, asks);
  const dry = await heard(group, /the red ones are dry/);
  telegram.people.say(group, `${NAME} when are they due?`, { from: ada, topic: taxes });
  const due = await heard(group, /when are they due/);
  expect(dry.body["reply_to_message"]).toMatchObject({ message_id: question.id });
  expect([dry.threadId, due.threadId]).toEqual([roses, taxes]);
  telegram.people.say(group, "and the white ones?", { from: bob, topic: roses, replyTo: dry });
  const white = await heard(group, /and the white ones/);
  expect(white.threadId).toBe(roses);
  const asked = (words: string) => JSON.stringify(requestWith(words)?.body);
  expect(asked("when are they due?")).not.toContain("red ones");
  expect(asked("and the white ones?")).toContain("Bob: the red ones are dry");
  expect(asked("and the white ones?")).not.toMatch(/when are they due|nobody asked/);
}, 180_000);
