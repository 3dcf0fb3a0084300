import { Api } from "grammy";

/** Calls that take longer than this are cut; a long poll has its own. */
const CALL_SECONDS = 60;

/** A large file takes its time. */
export const FILE_SECONDS = 600;

/** Telegram's Bot API, typed by grammY. */
export type TelegramApi = Api;

export function telegramApi(
  token: string,
  apiRoot: string | undefined,
  timeoutSeconds = CALL_SECONDS,
): TelegramApi {
  return new Api(token, {
    ...(apiRoot === undefined ? {} : { apiRoot }),
    timeoutSeconds,
    // Its errors would name the address, and with it the token.
    sensitiveLogs: false,
  });
}

/** The same signal: grammY's types know only that of a package. */
export function grammySignal(signal: AbortSignal): NonNullable<Parameters<Api["getMe"]>[0]> {
  return signal as unknown as NonNullable<Parameters<Api["getMe"]>[0]>;
}
