import { startBot } from "#bot/bot.ts";
import { createKubeClient } from "#cluster/client.ts";
import { createLogger } from "#lib/logger.ts";
import { clusterAccess } from "../config/cluster.ts";
import { telegramLease, telegramOptions, telegramSettings } from "../config/telegram.ts";
import type { Environment } from "../config.ts";
import { closeAfter, runUntilSignalled } from "../lifetime.ts";

export function telegram(environment: Environment): Promise<number> {
  const set = telegramSettings(environment);
  const logger = createLogger("telegram", set.ARGUS_LOG_LEVEL);
  return runUntilSignalled(async (signal) => {
    const named = telegramLease(set);
    if (!named) return await startBot(telegramOptions(set, { lease: undefined, logger }), signal);
    const kube = await createKubeClient({ ...clusterAccess(set), logger });
    const lease = { ...named, kube };
    const running = await startBot(telegramOptions(set, { lease, logger }), signal);
    return { closed: closeAfter(running, kube) };
  });
}
