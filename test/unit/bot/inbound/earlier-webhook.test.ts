import { expect, onTestFinished, test } from "vitest";
import { EarlierWebhook } from "#bot/inbound/earlier-webhook.ts";
import { telegramApi } from "#bot/telegram-api.ts";
import { silentLogger } from "#lib/logger.ts";
import { startTelegram } from "#test/fakes/telegram.ts";

test("a webhook that comes back again and again is left in the end", async () => {
  const telegram = await startTelegram();
  onTestFinished(() => telegram.stop());
  const api = telegramApi(telegram.token, telegram.url);
  const earlier = new EarlierWebhook({ api, logger: silentLogger() });
  const { signal } = new AbortController();
  const isLeft: boolean[] = [];
  // The first one is there before the bot asks.
  for (let round = 0; round < 12; round += 1) {
    await api.setWebhook("https://bot.example.org/hook");
    const refused = await api.getUpdates({ timeout: 0 }).catch((error: unknown) => error);
    earlier.failed(refused);
    await earlier.remove(signal);
    isLeft.push((await api.getWebhookInfo()).url !== "");
  }
  expect(isLeft).toEqual([...Array.from({ length: 10 }, () => false), true, true]);
});
