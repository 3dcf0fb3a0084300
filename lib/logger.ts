import { type Logger, pino } from "pino";

export type { Logger } from "pino";

const SECRET_FIELDS = ["token", "authorization", "secret", "key", "password", "apiKey"];

/** One JSON line per event on stderr (stdout belongs to the person): constant message, variable fields. */
export function createLogger(process: string, level = "info"): Logger {
  return pino(
    {
      level,
      base: { process },
      timestamp: pino.stdTimeFunctions.isoTime,
      redact: {
        paths: SECRET_FIELDS.flatMap((field) => [field, `*.${field}`]),
        censor: "[redacted]",
      },
    },
    pino.destination({ fd: 2, sync: true }),
  );
}

/** A logger that says nothing, for tests and tools. */
export function silentLogger(): Logger {
  return pino({ level: "silent" });
}
