import { createLogger } from "#lib/logger.ts";
import { runEcho } from "#runtime/echo/echo.ts";
import { echoSettings } from "../config/echo.ts";
import type { Environment } from "../config.ts";
import { EXIT } from "../exit.ts";
import { untilSignalled } from "../lifetime.ts";

/** JSON lines on stdin and stdout until stdin ends. */
export async function echo(environment: Environment): Promise<number> {
  const { home, logLevel } = echoSettings(environment);
  const logger = createLogger("echo", logLevel);
  await runEcho(process.stdin, process.stdout, { home, logger }, untilSignalled());
  return EXIT.ok;
}
