import type { FakeTelegram, Person } from "#test/fakes/telegram.ts";

/** What lets the bot of `argus up` talk to this Telegram, whose owner is `owner`. */
export function telegramEnv({ token, url }: FakeTelegram, owner: Person): Record<string, string> {
  return {
    ARGUS_TELEGRAM_TOKEN: token,
    ARGUS_TELEGRAM_API: url,
    ARGUS_TELEGRAM_OWNERS: String(owner.id),
  };
}
