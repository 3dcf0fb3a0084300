import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FakeTelegram, startTelegram } from "#test/fakes/telegram.ts";
import { ArgusUp, argus } from "#test/support/argus-up.ts";
import { eventually } from "#test/support/eventually.ts";
import { telegramEnv } from "#test/support/telegram-env.ts";

const BOT = "argus.mjs telegram";
let telegram: FakeTelegram;
let up: ArgusUp;
type Someone = ReturnType<FakeTelegram["people"]["person"]>;
let ada: Someone;

beforeAll(async () => {
  telegram = await startTelegram();
  ada = telegram.people.person("Ada");
  up = await ArgusUp.start({ env: telegramEnv(telegram, ada) });
}, 120_000);
afterAll(async () => {
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
  // Killed between the sending and its commit it would say so, 30 s later and marked (telegram-faults).
  await eventually("the delivery is over", async () =>
    (await argus(["deliveries", "--data", up.data])).stdout.includes("has been sent"),
  );
  const [{ pid } = { pid: 0 }] = up.find(BOT);
  process.kill(pid, "SIGKILL");
  await eventually("the bot is gone", () => up.find(BOT).every((each) => each.pid !== pid));
  telegram.people.say(ada, "after the crash");
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
  const log = await readFile(join(up.data, "logs", "telegram.log"), "utf8");
  expect(log).toContain("Telegram bot ready");
  expect(log).not.toContain(telegram.token.split(":")[1]);
}, 120_000);

test("the owner's own tools let people in and keep them out", async () => {
  const carol = telegram.people.person("Carol");
  telegram.people.say(carol, "hello?");
  const [code = ""] = /[A-Z2-9]{8}/.exec((await heard(carol, /code/)) ?? "") ?? [];
  const people = (...words: string[]) => argus(["people", ...words, "--data", up.data]);
  expect((await people()).stdout).toMatch(new RegExp(`Carol +asks .*approve ${code}`));
  expect((await people("approve", code)).stdout).toContain("Carol (telegram:");
  telegram.people.say(carol, "hello from carol");
  await heard(carol, /hello from carol/);
  expect(await people("remove", `telegram:${carol.id}`)).toMatchObject({ code: 0 });
  expect((await people("list")).stdout).not.toContain("Carol");
  expect(await people("approve", "WRONG222")).toMatchObject({ code: 66 });
  telegram.people.say(carol, "still there?");
  await telegram.waitFor("a new code", () =>
    texts(carol).some((text) => /[A-Z2-9]{8}/.test(text ?? "") && !text?.includes(code)),
  );
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

test("photos, documents and voice come into the workspace, albums as one message, though Telegram fails on the way", async () => {
  const files = [randomBytes(900_000), randomBytes(10), randomBytes(2000)];
  const [report = Buffer.alloc(0), first = Buffer.alloc(0), second = Buffer.alloc(0)] = files;
  telegram.faults.add({ fault: { status: 502 }, method: "getFile" });
  telegram.faults.add({ fault: { cut: "after" }, method: "download" });
  const about = { kind: "document", name: "the report.pdf", mime: "application/pdf" } as const;
  telegram.people.send(ada, { ...about, bytes: report, caption: "read this" });
  const answer = (await heard(ada, /read this/)) ?? "";
  const path = /. file: (\S+)/.exec(answer)?.[1] ?? "";
  expect(path).toMatch(/\/1-the_report\.pdf$/);
  expect((await readFile(path)).equals(report)).toBe(true);
  const photo = { kind: "photo", album: "7" } as const;
  telegram.people.send(ada, { ...photo, bytes: first, caption: "two pictures" });
  telegram.people.send(ada, { ...photo, bytes: second });
  const album = (await heard(ada, /two pictures/)) ?? "";
  const paths = [...album.matchAll(/. image: (\S+)/g)].map(([, found = ""]) => found);
  expect(await Promise.all(paths.map((each) => readFile(each)))).toEqual([first, second]);
  const voice = telegram.people.send(ada, { kind: "voice", bytes: randomBytes(99) });
  telegram.people.say(ada, "what did I say?", { replyTo: voice });
  expect(await heard(ada, /. audio: /)).toMatch(/voice|audio/);
}, 60_000);
