import { createLogger } from "#lib/logger.ts";
import { startBridge } from "#runtime/bridge.ts";
import { bridgeLogLevel, bridgeOptions } from "../config/bridge.ts";
import type { Environment } from "../config.ts";
import { runUntilSignalled } from "../lifetime.ts";

export function bridge(environment: Environment): Promise<number> {
  const logger = createLogger("bridge", bridgeLogLevel(environment));
  const options = bridgeOptions(environment, logger);
  return runUntilSignalled((signal) => startBridge(options, signal));
}
