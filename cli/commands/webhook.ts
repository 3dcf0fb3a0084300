import { createLogger } from "#lib/logger.ts";
import { startWebhook } from "#webhook/webhook.ts";
import { webhookOptions, webhookSettings } from "../config/webhook.ts";
import type { Environment } from "../config.ts";
import { runUntilSignalled } from "../lifetime.ts";

export function webhook(environment: Environment): Promise<number> {
  const set = webhookSettings(environment);
  const logger = createLogger("webhook", set.ARGUS_LOG_LEVEL);
  return runUntilSignalled(async (signal) => startWebhook(webhookOptions(set, logger), signal));
}
