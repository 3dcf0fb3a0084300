import { z } from "zod";
import {
  count,
  flag,
  httpUrl,
  logLevel,
  objectName,
  placement,
  resources,
  secretEntry,
  text,
} from "./value-types.ts";

const userIds = (description: string) =>
  z
    .array(z.string().regex(/^\d{1,16}$/))
    .max(100)
    .default([])
    .meta({ description });

/** Values of the Telegram bot. */
export const Telegram = z.strictObject({
  enabled: flag("Run the Telegram bot", false),
  replicas: count(
    "1, or 2 for a warm stand-by; the Lease lets one talk to Telegram. 1 with webhook",
    {
      least: 1,
      most: 2,
      fallback: 1,
    },
  ),
  token: text("The bot's token from BotFather; better: existingSecret"),
  existingSecret: objectName("Secret of yours that holds the bot's token"),
  existingSecretKey: secretEntry("token"),
  owners: userIds("User ids of the owners, as strings: they may do everything, without a code"),
  members: userIds("User ids of people who may write without a code, as strings"),
  session: z
    .string()
    .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/)
    .default("main")
    .meta({ description: "Session of the owners' private chats" }),
  apiRoot: z
    .union([z.literal(""), httpUrl()])
    .default("")
    .meta({ description: "Another Bot API server; Telegram's when empty" }),
  webhook: z
    .union([
      z.literal(""),
      z
        .string()
        .max(1024)
        .regex(/^https:\/\/[^/\s]+(\/\S*)?$/),
    ])
    .default("")
    .meta({
      description:
        "https address under which Telegram reaches the bot and posts updates: send its path to port 8083 of the bot's Service; the bot asks Telegram when empty",
    }),
  logLevel: logLevel(),
  resources: resources(
    { cpu: "20m", memory: "96Mi", "ephemeral-storage": "64Mi" },
    { cpu: "500m", memory: "256Mi", "ephemeral-storage": "128Mi" },
  ),
  ...placement,
});

/** Values of the webhook adapter. */
export const Webhook = z.strictObject({
  enabled: flag(
    "Run the webhook adapter: answers of its chats are posted to other programs",
    false,
  ),
  urls: z
    .array(
      z
        .string()
        .max(1024)
        .regex(/^([^=/\s]+=)?https?:\/\/[^/\s]+(\/\S*)?$/),
    )
    .max(50)
    .default([])
    .meta({
      description:
        "Where to: a URL, `<chat>=<url>` or `<beginning>*=<url>`; the first that matches",
    }),
  channel: z
    .string()
    .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/)
    .default("webhook")
    .meta({ description: "Name of the channel" }),
  secret: text("Key of the signatures, at least 16 characters; better: existingSecret"),
  existingSecret: objectName("Secret of yours that holds the key of the signatures"),
  existingSecretKey: secretEntry("secret"),
  logLevel: logLevel(),
  resources: resources(
    { cpu: "20m", memory: "96Mi", "ephemeral-storage": "64Mi" },
    { cpu: "500m", memory: "256Mi", "ephemeral-storage": "128Mi" },
  ),
  ...placement,
});
