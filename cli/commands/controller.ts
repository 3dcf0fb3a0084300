import { createKubeClient } from "#cluster/client.ts";
import { startController } from "#controller/controller.ts";
import { createLogger } from "#lib/logger.ts";
import { clusterAccess } from "../config/cluster.ts";
import { controllerOptions, controllerSettings } from "../config/controller.ts";
import type { Environment } from "../config.ts";
import { closeAfter, runUntilSignalled } from "../lifetime.ts";

export function controller(environment: Environment): Promise<number> {
  const set = controllerSettings(environment);
  const logger = createLogger("controller", set.ARGUS_LOG_LEVEL);
  return runUntilSignalled(async (signal) => {
    const kube = await createKubeClient({ ...clusterAccess(set), logger });
    const running = await startController(controllerOptions(set, { kube, logger }), signal);
    return { closed: closeAfter(running, kube) };
  });
}
