import { ArgusError, type ErrorCode, errorMessage } from "#lib/errors.ts";

/** Exit codes after sysexits(3); 1 = the work itself failed (a failed turn, a failed check). */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 64,
  badInput: 65,
  notFound: 66,
  unavailable: 69,
  internal: 70,
  tryAgain: 75,
  noPermission: 77,
  configuration: 78,
  interrupted: 130,
} as const;

const BY_CODE: Record<ErrorCode, number> = {
  InvalidInput: EXIT.badInput,
  Unauthorized: EXIT.noPermission,
  Forbidden: EXIT.noPermission,
  NotFound: EXIT.notFound,
  Conflict: EXIT.tryAgain,
  TooLarge: EXIT.badInput,
  Busy: EXIT.tryAgain,
  Unavailable: EXIT.unavailable,
  Timeout: EXIT.unavailable,
  Internal: EXIT.internal,
};

export function exitCodeOf(error: unknown): number {
  if (!(error instanceof ArgusError)) return EXIT.internal;
  return error.facts.variables === undefined ? BY_CODE[error.code] : EXIT.configuration;
}

/** What the person reads: the message of an error of ours; a stack only for a defect. */
export function explain(error: unknown): string {
  if (error instanceof ArgusError && error.code !== "Internal") return `argus: ${error.message}`;
  const stack = error instanceof Error ? error.stack : undefined;
  return `argus: this is a defect of Argus: ${errorMessage(error)}${stack ? `\n${stack}` : ""}`;
}
