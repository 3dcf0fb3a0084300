import { z } from "zod";
import type { Logger } from "#lib/logger.ts";
import type { Route, WebhookOptions } from "#webhook/options.ts";
import { type Environment, listenAddress, logLevel, parseEnvironment } from "../config.ts";
import { gatewayAccess, gatewayToken, parallelChats } from "./adapter.ts";

const name = (fallback: string) =>
  z
    .string()
    .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "lower-case letters, digits, dashes")
    .default(fallback);

/** `pattern=url`, several by spaces or lines; a bare URL takes every chat. */
const routes = z
  .string({ error: "set it: where the parts are posted to" })
  .transform((text, context) =>
    text
      .split(/\s+/)
      .filter(Boolean)
      .map((word): Route => {
        const [, chat = "*", url = ""] = /^(?:([^=/]+)=)?(https?:\/\/\S+)$/.exec(word) ?? [];
        if (!URL.canParse(url))
          context.addIssue({
            code: "custom",
            message: "give URLs, or <chat>=<url>, or <beginning>*=<url>",
          });
        return { chat, url };
      }),
  );

/** Environment of `argus webhook`. */
export const WebhookEnvironment = z.object({
  ...gatewayAccess,
  ARGUS_WEBHOOK_CHANNEL: name("webhook").meta({ description: "Name of the channel" }),
  ARGUS_WEBHOOK_ADAPTER: name("webhook").meta({
    description: "Name of this adapter, the same over restarts; no two processes at once have it",
  }),
  ARGUS_WEBHOOK_URLS: routes.meta({
    description:
      "Where to: URLs, `<chat>=<url>` or `<beginning>*=<url>`, by spaces; the first that matches",
  }),
  ARGUS_WEBHOOK_SECRET: z
    .string({
      error: "set it, or ARGUS_WEBHOOK_SECRET_FILE: the receiver checks signatures with it",
    })
    .min(16, "must have at least 16 characters")
    .meta({
      description: "Key of the signatures (whsec_… = Base64); or ARGUS_WEBHOOK_SECRET_FILE",
    }),
  ARGUS_WEBHOOK_PARALLEL: parallelChats(16),
  ARGUS_LISTEN: listenAddress("127.0.0.1:0").meta({
    description: "Address and port of /livez and /readyz; port 0 = not served",
  }),
  ARGUS_LOG_LEVEL: logLevel(),
});

export function webhookSettings(environment: Environment): z.output<typeof WebhookEnvironment> {
  return parseEnvironment(WebhookEnvironment, environment, {
    secrets: ["ARGUS_TOKEN", "ARGUS_WEBHOOK_SECRET"],
  });
}

/** Options of the adapter from its settings. */
export function webhookOptions(
  set: z.output<typeof WebhookEnvironment>,
  logger: Logger,
): WebhookOptions {
  return {
    gatewayUrl: set.ARGUS_GATEWAY_URL,
    token: () => gatewayToken(set),
    channel: set.ARGUS_WEBHOOK_CHANNEL,
    adapter: set.ARGUS_WEBHOOK_ADAPTER,
    routes: set.ARGUS_WEBHOOK_URLS,
    secret: set.ARGUS_WEBHOOK_SECRET,
    parallel: set.ARGUS_WEBHOOK_PARALLEL,
    ...(set.ARGUS_LISTEN.port === 0 ? {} : { listen: set.ARGUS_LISTEN }),
    logger,
  };
}
