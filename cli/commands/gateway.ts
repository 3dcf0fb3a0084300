import { createKubeClient } from "#cluster/client.ts";
import { startGateway } from "#gateway/gateway.ts";
import { createLogger } from "#lib/logger.ts";
import { clusterAccess } from "../config/cluster.ts";
import { gatewayOptions, gatewaySettings } from "../config/gateway.ts";
import type { Environment } from "../config.ts";
import { closeAfter, runUntilSignalled } from "../lifetime.ts";
import { tuneCollector } from "../node-flags.ts";

export function gateway(environment: Environment): Promise<number> {
  tuneCollector();
  const set = gatewaySettings(environment);
  const logger = createLogger("gateway", set.ARGUS_LOG_LEVEL);
  return runUntilSignalled(async (signal) => {
    const kube = await createKubeClient({ ...clusterAccess(set), logger });
    const running = await startGateway(gatewayOptions(set, { kube, logger }), signal);
    return { closed: closeAfter(running, kube) };
  });
}
