import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FakeTelegram, startTelegram } from "#test/fakes/telegram.ts";
import { bundle } from "../../scripts/bundle.ts";

let folder: string;
let telegram: FakeTelegram;
let bot: ChildProcess;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "argus-telegram-bundle-"));
  await bundle(join(folder, "program"));
  telegram = await startTelegram();
  bot = spawn(process.execPath, [join(folder, "program", "argus.js"), "telegram"], {
    stdio: "ignore",
    env: {
      // Nobody listens there: this is about Telegram alone.
      ARGUS_GATEWAY_URL: "http://127.0.0.1:9",
      ARGUS_TOKEN: "token-of-the-gateway-in-tests",
      ARGUS_TELEGRAM_TOKEN: telegram.token,
      ARGUS_TELEGRAM_API: telegram.url,
    },
  });
}, 60_000);
afterAll(async () => {
  const ended = once(bot, "exit");
  bot.kill("SIGKILL");
  await ended;
  await telegram.stop();
  await rm(folder, { recursive: true });
});

test("the bot as the images have it talks to Telegram", async () => {
  await telegram.waitFor("a poll", () => telegram.polled());
  expect(telegram.calls.map(({ method }) => method)).toEqual([
    "getMe",
    "setMyCommands",
    "getWebhookInfo",
    "getUpdates",
  ]);
});
