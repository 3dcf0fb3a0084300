import { type Logger, pino } from "pino";

export type { Logger } from "pino";

const SECRET_FIELDS = ["token", "authorization", "secret", "key", "password", "apiKey"];

/** Takes whole lines. */
export interface LogSink {
  write(line: string): void;
}

/** One JSON line per event, on stderr unless told (stdout belongs to the person): constant message, variable fields. */
export function createLogger(process: string, level = "info", sink?: LogSink): Logger {
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
    sink ?? pino.destination({ fd: 2, sync: true }),
  );
}

/** A logger that says nothing, for tests and tools. */
export function silentLogger(): Logger {
  return pino({ level: "silent" });
}
