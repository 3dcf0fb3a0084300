import { GrammyError } from "grammy";
import type { Update, UserFromGetMe } from "grammy/types";
import { serveHealth } from "#channel/health.ts";
import type { Fence } from "#cluster/types.ts";
import { backoffMs, systemClock } from "#lib/clock.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { Running } from "#lib/running.ts";
import { type Connected, connect } from "./connect.ts";
import { BotHealth } from "./health.ts";
import { Handler } from "./inbound/handler.ts";
import { type PollOptions, poll } from "./inbound/poll.ts";
import { receive } from "./inbound/webhook.ts";
import { talkByLease } from "./lease.ts";
import type { BotOptions } from "./options.ts";
import { Talk } from "./outbound/talk.ts";
import { grammySignal, type TelegramApi, telegramApi } from "./telegram-api.ts";
import { COMMANDS } from "./words.ts";

const RETRY = { baseMs: 500, maxMs: 30_000 };

/**
 * The Telegram chat: people's messages go to their sessions, the outbox's deliveries to people; with a Lease only while it is
 * held. Resolves once Telegram knows the bot, so that a replica with a wrong token takes nobody's place.
 * `closed` rejects when the token is refused or a newer process of the bot has taken over.
 * Throws `Unauthorized` for a token that Telegram does not know.
 */
export async function startBot(options: BotOptions, signal: AbortSignal): Promise<Running> {
  const { listen, lease, logger } = options;
  const health = new BotHealth(options.webhook !== undefined);
  const stop = new AbortController();
  const running = AbortSignal.any([signal, stop.signal]);
  try {
    if (listen) await serveHealth(listen, () => health.reasons, running);
    const bot = await identity(options, signal);
    const talk = (fence: Fence | undefined, until: AbortSignal) =>
      startTalking({ options, bot, health, fence }, until);
    const talking = lease
      ? talkByLease(
          { lease, logger, health },
          async (...term) => (await talk(...term)).closed,
          running,
        )
      : await talk(undefined, running);
    return { closed: talking.closed.finally(() => stop.abort()) };
  } catch (error) {
    stop.abort();
    throw error;
  }
}

interface TalkFacts {
  options: BotOptions;
  bot: UserFromGetMe;
  health: BotHealth;
  /** Undefined = nobody else talks in the bot's name. */
  fence: Fence | undefined;
}

/** Takes messages in and sends deliveries. Resolves once the menu is set. */
async function startTalking(facts: TalkFacts, signal: AbortSignal): Promise<Running> {
  const { options, bot, health } = facts;
  const { logger } = options;
  const stop = new AbortController();
  const running = AbortSignal.any([signal, stop.signal]);
  const { api, ...parts } = connect(options, facts.fence, running);
  const { ready, closed: delivering } = parts.adapter;
  void ready.then(
    () => health.set("gateway", undefined),
    () => undefined,
  );
  await announce(api, logger);
  logger.info({ bot: bot.username }, "Telegram bot ready");
  const handler = handlerOf(facts, { api, ...parts });
  const take = async (updates: Update[]) => {
    await handler.take(updates);
    // What could not be said because the Lease is lost comes again, to its next holder.
    facts.fence?.check();
  };
  const receiving = takeIn(facts, { api, take }, running);
  const either = Promise.race([receiving, delivering]).finally(() => stop.abort());
  return { closed: Promise.all([either, receiving, delivering]).then(() => undefined) };
}

function handlerOf({ options, bot }: TalkFacts, { api, pace, ...parts }: Connected): Handler {
  const { logger, owners, members, mainSession, gatewayUrl } = options;
  const talk = new Talk({ api, pace, logger });
  const joinUrl = joinUrlOf(gatewayUrl);
  return new Handler({ api, bot, talk, owners, members, mainSession, joinUrl, logger, ...parts });
}

/** By polling or by a webhook, until the signal aborts. */
function takeIn(
  { options, health }: TalkFacts,
  { api, take }: Pick<PollOptions, "api" | "take">,
  signal: AbortSignal,
): Promise<void> {
  const { webhook, botToken, logger } = options;
  const onState = (reason: string | undefined) => health.set("telegram", reason);
  if (webhook) return receive({ api, botToken, webhook, take, onState, logger }, signal);
  // The first poll may wait for long; a webhook is there once it is set.
  onState(undefined);
  return poll({ api, take, onState, logger }, signal);
}

/** A name inside of a cluster says nothing to a device. */
function joinUrlOf(gatewayUrl: string): string | undefined {
  const { hostname, origin } = new URL(gatewayUrl);
  const isPublic = hostname.includes(".") && !/\.(svc|local|internal)$/.test(hostname);
  return isPublic ? origin : undefined;
}

/** Who the bot is; asked until Telegram answers. */
async function identity(
  { botToken, apiRoot, logger }: BotOptions,
  signal: AbortSignal,
): Promise<UserFromGetMe> {
  const api = telegramApi(botToken, apiRoot);
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
