import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { z } from "zod";
import type { BotLease, BotOptions } from "#bot/options.ts";
import type { Logger } from "#lib/logger.ts";
import { type Environment, httpUrl, listenAddress, logLevel, parseEnvironment } from "../config.ts";
import { gatewayAccess, gatewayToken, parallelChats } from "./adapter.ts";
import { clusterVariables } from "./cluster.ts";

const people = z
  .string()
  .regex(
    /^\s*\d{1,16}([\s,]+\d{1,16})*\s*$/,
    "give user ids as numbers, several by commas; @userinfobot tells yours",
  )
  .transform((text) => text.split(/[\s,]+/).filter(Boolean))
  .default([]);

/** Environment of `argus telegram`. */
export const TelegramEnvironment = z.object({
  ...gatewayAccess,
  ARGUS_TELEGRAM_TOKEN: z
    .string({ error: "set it, or ARGUS_TELEGRAM_TOKEN_FILE: BotFather gives it to you" })
    .regex(/^\d+:[\w-]{10,}$/, "does not look like BotFather's token, for example 123456:AbC…")
    .meta({ description: "The bot's token from BotFather; or ARGUS_TELEGRAM_TOKEN_FILE" }),
  ARGUS_TELEGRAM_API: httpUrl()
    .optional()
    .meta({ description: "Another Bot API server; else Telegram's" }),
  ARGUS_TELEGRAM_OWNERS: people.meta({
    description: "User ids of the owners, by commas: they may do everything, without a code",
  }),
  ARGUS_TELEGRAM_MEMBERS: people.meta({
    description: "User ids of people who may write without a code",
  }),
  ARGUS_TELEGRAM_SESSION: z
    .string()
    .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "lower-case letters, digits, dashes")
    .default("main")
    .meta({ description: "Session of the owners' private chats" }),
  ARGUS_TELEGRAM_WEBHOOK: httpUrl().optional().meta({
    description:
      "Address under which Telegram reaches this bot by https and posts updates; absent = it is asked for them",
  }),
  ARGUS_TELEGRAM_WEBHOOK_LISTEN: listenAddress("127.0.0.1:8083").meta({
    description: "Where the bot takes what is posted to ARGUS_TELEGRAM_WEBHOOK",
  }),
  ARGUS_TELEGRAM_PARALLEL: parallelChats(32),
  ARGUS_TELEGRAM_LEASE: z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/, "give the name of a Lease")
    .optional()
    .meta({
      description:
        "Lease in ARGUS_NAMESPACE: of all replicas that name it only its holder talks to Telegram; absent = this is the only one",
    }),
  ...clusterVariables,
  ARGUS_NAMESPACE: clusterVariables.ARGUS_NAMESPACE.meta({
    description: "Namespace of the Lease; the pod's own, else default",
  }),
  ARGUS_IDENTITY: z.string().max(253).optional().meta({
    description:
      "Name of this replica, of which never two run at once (its pod's name); random when absent",
  }),
  ARGUS_LISTEN: listenAddress("127.0.0.1:0").meta({
    description: "Address of /livez and /readyz; none with port 0",
  }),
  ARGUS_LOG_LEVEL: logLevel(),
});

type TelegramSettings = z.output<typeof TelegramEnvironment>;

export function telegramSettings(environment: Environment): TelegramSettings {
  return parseEnvironment(TelegramEnvironment, environment, {
    secrets: ["ARGUS_TOKEN", "ARGUS_TELEGRAM_TOKEN"],
  });
}

/** The Lease that the settings name, without a way to it. */
export function telegramLease(set: TelegramSettings): Omit<BotLease, "kube"> | undefined {
  const { ARGUS_TELEGRAM_LEASE: name, ARGUS_NAMESPACE: namespace } = set;
  if (name === undefined) return undefined;
  return { name, namespace, identity: set.ARGUS_IDENTITY ?? `${hostname()}_${randomUUID()}` };
}

/** Options of the bot from its settings. */
export function telegramOptions(
  set: TelegramSettings,
  { lease, logger }: { lease: BotLease | undefined; logger: Logger },
): BotOptions {
  return {
    lease,
    gatewayUrl: set.ARGUS_GATEWAY_URL,
    gatewayToken: () => gatewayToken(set),
    botToken: set.ARGUS_TELEGRAM_TOKEN,
    apiRoot: set.ARGUS_TELEGRAM_API,
    webhook: set.ARGUS_TELEGRAM_WEBHOOK
      ? { url: set.ARGUS_TELEGRAM_WEBHOOK, listen: set.ARGUS_TELEGRAM_WEBHOOK_LISTEN }
      : undefined,
    owners: set.ARGUS_TELEGRAM_OWNERS,
    members: set.ARGUS_TELEGRAM_MEMBERS,
    mainSession: set.ARGUS_TELEGRAM_SESSION,
    parallel: set.ARGUS_TELEGRAM_PARALLEL,
    listen: set.ARGUS_LISTEN.port === 0 ? undefined : set.ARGUS_LISTEN,
    logger,
  };
}
