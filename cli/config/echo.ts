import { z } from "zod";
import { type Environment, logLevel, parseEnvironment } from "../config.ts";

/** Environment of `argus echo`. */
export const EchoEnvironment = z.object({
  HOME: z
    .string()
    .optional()
    .meta({ description: "Threads are kept under it; else under the working folder" }),
  ARGUS_LOG_LEVEL: logLevel(),
});

export function echoSettings(environment: Environment): { home: string; logLevel: string } {
  const set = parseEnvironment(EchoEnvironment, environment);
  return { home: set.HOME ?? process.cwd(), logLevel: set.ARGUS_LOG_LEVEL };
}
