import { startBot } from "#bot/bot.ts";
import { createLogger } from "#lib/logger.ts";
import { telegramOptions, telegramSettings } from "../config/telegram.ts";
import type { Environment } from "../config.ts";
import { runUntilSignalled } from "../lifetime.ts";

export function telegram(environment: Environment): Promise<number> {
  const set = telegramSettings(environment);
  const logger = createLogger("telegram", set.ARGUS_LOG_LEVEL);
  return runUntilSignalled((signal) => startBot(telegramOptions(set, logger), signal));
}
