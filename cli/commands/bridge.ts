import { createLogger } from "#lib/logger.ts";
import { startBridge } from "#runtime/bridge.ts";
import { leaveFailure } from "#runtime/termination.ts";
import { bridgeLogLevel, bridgeOptions } from "../config/bridge.ts";
import type { Environment } from "../config.ts";
import { runUntilSignalled } from "../lifetime.ts";
import { tuneCollector } from "../node-flags.ts";
import { podNode } from "../pod-node.ts";

export function bridge(environment: Environment): Promise<number> {
  tuneCollector();
  const logger = createLogger("bridge", bridgeLogLevel(environment));
  const supervise = [process.execPath, process.argv[1] ?? "", "node-host", "supervise"];
  const startNode = podNode(supervise);
  const options = { ...bridgeOptions(environment, logger), startNode };
  // The last thing that a process with a defect does.
  process.on("uncaughtExceptionMonitor", (error) => leaveFailure(options.terminationLog, error));
  return runUntilSignalled((signal) => startBridge(options, signal));
}
