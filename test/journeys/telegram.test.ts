import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FakeTelegram, startTelegram } from "#test/fakes/telegram.ts";
import { ArgusUp } from "#test/support/argus-up.ts";

const root = join(import.meta.dirname, "..", "..");
let telegram: FakeTelegram;
let up: ArgusUp;
let bot: ChildProcess;
let said = "";
type Someone = ReturnType<FakeTelegram["people"]["person"]>;
let ada: Someone;

function startBot(): ChildProcess {
  const child = spawn(join(root, "argus"), ["telegram"], {
    env: {
      PATH: process.env.PATH ?? "",
      HOME: up.data,
      ARGUS_GATEWAY_URL: up.url,
      ARGUS_TOKEN: up.token,
      ARGUS_TELEGRAM_TOKEN: telegram.token,
      ARGUS_TELEGRAM_API: telegram.url,
      ARGUS_TELEGRAM_OWNERS: String(ada.id),
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding("utf8").on("data", (chunk: string) => (said += chunk));
  return child;
}

beforeAll(async () => {
  telegram = await startTelegram();
  ada = telegram.people.person("Ada");
  up = await ArgusUp.start();
  bot = startBot();
}, 120_000);
afterAll(async () => {
  bot?.kill("SIGTERM");
  if (bot && bot.exitCode === null && bot.signalCode === null) await once(bot, "close");
  await up?.destroy();
  await telegram?.stop();
});

const texts = (who: Someone) => telegram.sent(who).map(({ versions }) => versions.at(-1)?.text);
const heard = (who: Someone, words: RegExp) =>
  telegram.waitFor(`${who.user.first_name} hears ${words}`, () =>
    texts(who).find((text) => words.test(text ?? "")),
  );

test("an owner writes and is answered, once, with the bot killed in between", async () => {
  await telegram.waitFor("the poll", () => telegram.polled(), 60_000);
  telegram.people.say(ada, "hello there");
  await heard(ada, /hello there/);
  bot.kill("SIGKILL");
  await once(bot, "close");
  telegram.people.say(ada, "after the crash");
  bot = startBot();
  await heard(ada, /after the crash/);
  expect(texts(ada).filter((text) => /hello there|after the crash/.test(text ?? ""))).toHaveLength(
    2,
  );
}, 120_000);

test("a stranger is shown a code, and may write once the owner has confirmed it", async () => {
  const bob = telegram.people.person("Bob");
  telegram.people.say(bob, "let me in");
  const [code = ""] = /[A-Z2-9]{8}/.exec((await heard(bob, /code/)) ?? "") ?? [];
  telegram.people.say(bob, "again");
  telegram.people.say(ada, `/approve ${code}`);
  await heard(ada, /Bob may write/);
  telegram.people.say(bob, "hello from bob");
  await heard(bob, /hello from bob/);
  expect(texts(ada).join()).not.toContain("from bob");
  expect(said).not.toContain(telegram.token.split(":")[1]);
}, 120_000);

test("commands tell where the chat stands, and begin a new conversation", async () => {
  telegram.people.say(ada, "/where");
  expect(await heard(ada, /sessionId/)).toMatch(/^sessionId: main.*\nchatKey: \d+\nthreadId: /);
  telegram.people.say(ada, "/new");
  await heard(ada, /new conversation/);
  telegram.people.say(ada, "/status");
  await heard(ada, /I am free/);
  telegram.people.say(ada, "/stop");
  await heard(ada, /Nothing is running/);
  telegram.people.say(ada, "/cron");
  await heard(ada, /No schedules/);
}, 60_000);
