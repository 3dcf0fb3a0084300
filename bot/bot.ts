import { GrammyError } from "grammy";
import type { Update, UserFromGetMe } from "grammy/types";
import { z } from "zod";
import { type Adapter, startAdapter } from "#channel/adapter.ts";
import { serveHealth } from "#channel/health.ts";
import { backoffMs, systemClock } from "#lib/clock.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { Running } from "#lib/running.ts";
import { CHANNEL, ShownResult } from "#protocol/channel.ts";
import { BotHealth } from "./health.ts";
import { Handler } from "./inbound/handler.ts";
import { poll } from "./inbound/poll.ts";
import { receive } from "./inbound/webhook.ts";
import { telegramFiles } from "./media/download.ts";
import { type BotOptions, CHANNEL_NAME } from "./options.ts";
import { telegramAsks } from "./outbound/asks.ts";
import { FileSender } from "./outbound/files.ts";
import { Pace } from "./outbound/pace.ts";
import { heedPauses } from "./outbound/pauses.ts";
import { TelegramSender } from "./outbound/sender.ts";
import { Talk } from "./outbound/talk.ts";
import { Progress } from "./progress.ts";
import { Replies } from "./replies.ts";
import { FILE_SECONDS, grammySignal, type TelegramApi, telegramApi } from "./telegram-api.ts";
import { COMMANDS } from "./words.ts";

const RETRY = { baseMs: 500, maxMs: 30_000 };

/**
 * The Telegram chat: people's messages go to their sessions, the outbox's deliveries to people. Resolves once Telegram knows the bot.
 * `closed` rejects when the token is refused or a newer process of the bot has taken over.
 * Throws `Unauthorized` for a token that Telegram does not know.
 */
export async function startBot(options: BotOptions, signal: AbortSignal): Promise<Running> {
  const { logger, botToken, apiRoot, listen } = options;
  const health = new BotHealth();
  const api = telegramApi(botToken, apiRoot);
  const stop = new AbortController();
  const running = AbortSignal.any([signal, stop.signal]);
  if (listen) await serveHealth(listen, () => health.reasons, running);
  const bot = await identity(api, options, signal).catch((error: unknown) => {
    stop.abort();
    throw error;
  });
  const adapter = connect(api, options, running);
  void adapter.adapter.ready.then(
    () => health.set("gateway", undefined),
    () => undefined,
  );
  const talk = new Talk({ api, pace: adapter.pace, logger });
  const { owners, members, mainSession } = options;
  const handler = new Handler({
    api,
    bot,
    talk,
    owners,
    members,
    mainSession,
    joinUrl: joinUrlOf(options.gatewayUrl),
    logger,
    ...adapter,
  });
  await announce(api, logger);
  logger.info({ bot: bot.username }, "Telegram bot ready");
  const onState = (reason: string | undefined) => health.set("telegram", reason);
  const take = (updates: Update[]) => handler.take(updates);
  const { webhook } = options;
  // The first poll may wait for long; a webhook is there once it is set.
  if (!webhook) onState(undefined);
  const polling = webhook
    ? receive({ api, botToken, webhook, take, onState, logger }, running)
    : poll({ api, take, onState, logger }, running);
  const either = Promise.race([polling, adapter.adapter.closed]).finally(() => stop.abort());
  return { closed: Promise.all([either, polling, adapter.adapter.closed]).then(() => undefined) };
}

/** A name inside of a cluster says nothing to a device. */
function joinUrlOf(gatewayUrl: string): string | undefined {
  const { hostname, origin } = new URL(gatewayUrl);
  const isPublic = hostname.includes(".") && !/\.(svc|local|internal)$/.test(hostname);
  return isPublic ? origin : undefined;
}

/** The adapter with everything that shows what it does. */
function connect(api: TelegramApi, options: BotOptions, signal: AbortSignal) {
  const { logger, gatewayUrl, gatewayToken, parallel } = options;
  const pace = new Pace();
  const replies = new Replies();
  const files = telegramApi(options.botToken, options.apiRoot, FILE_SECONDS);
  for (const each of [api, files]) each.config.use(heedPauses(pace));
  const late: { adapter?: Adapter } = {};
  const ask = <T>(method: string, params: unknown, result: z.ZodType<T>) => {
    if (!late.adapter) throw new ArgusError("Unavailable", "The bot starts.");
    return late.adapter.ask(method, params, result);
  };
  const progress = new Progress(
    {
      api,
      pace,
      replies,
      logger,
      shown: async ({ chatKey, sessionId, inputId }, ref) => {
        const params = { chatKey, sessionId, inputId, ref };
        return (await ask(CHANNEL.shown, params, ShownResult)).kept;
      },
    },
    signal,
  );
  const onMoved = async (from: number, to: number) => {
    await ask(CHANNEL.moved, { from: String(from), to: String(to) }, z.unknown());
  };
  const sender = new TelegramSender({
    api,
    pace,
    replies,
    files: new FileSender({ api: files, ask }),
    onBegun: (inputId) => progress.answered(inputId),
    onSent: (chatId, message) => progress.sent(chatId, message),
    onMoved,
  });
  const adapter = startAdapter(
    {
      gatewayUrl,
      token: gatewayToken,
      channel: CHANNEL_NAME,
      adapter: CHANNEL_NAME,
      sender,
      parallel,
      logger,
      openFile: telegramFiles(api, options),
      showAsk: telegramAsks({
        api,
        pace,
        onShown: ({ inputId }, chatId, message) => progress.asked(inputId, chatId, message),
        onMoved,
      }),
      onProgress: (notice) => progress.progress(notice),
      onEnded: (notice) => progress.ended(notice),
    },
    signal,
  );
  late.adapter = adapter;
  return { adapter, progress, pace, replies };
}

/** Who the bot is; asked until Telegram answers. */
async function identity(
  api: TelegramApi,
  { logger }: BotOptions,
  signal: AbortSignal,
): Promise<UserFromGetMe> {
  for (let failures = 0; ; failures += 1) {
    try {
      return await api.getMe(grammySignal(signal));
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof GrammyError && (error.error_code === 401 || error.error_code === 404)) {
        throw new ArgusError(
          "Unauthorized",
          "Telegram does not know this bot token: copy it again from BotFather (/mybots, API Token).",
        );
      }
      logger.warn({ error: errorMessage(error) }, "Telegram cannot be reached; trying again");
      await systemClock.sleep(backoffMs(failures, RETRY), signal);
    }
  }
}

/** The menu of commands: a comfort, not a need. */
async function announce(api: TelegramApi, logger: BotOptions["logger"]): Promise<void> {
  await api.setMyCommands([...COMMANDS]).catch((error: unknown) => {
    logger.warn({ error: errorMessage(error) }, "the menu of commands was not set");
  });
}
