/** What kind of failure it is; a caller matches on the code, never on the message. */
export type ErrorCode =
  | "InvalidInput" // the caller sent something wrong; the message names what to change
  | "Unauthorized" // no or wrong credentials
  | "Forbidden" // known, but not allowed here
  | "NotFound"
  | "Conflict" // somebody else changed it first
  | "TooLarge" // over a documented bound
  | "Busy" // try again later; nothing was accepted
  | "Unavailable" // a peer is away
  | "Timeout"
  | "Internal"; // a defect of ours

/** An error with a machine-readable code and facts that are safe to log. Never put a secret into either. */
export class ArgusError extends Error {
  readonly code: ErrorCode;
  readonly facts: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    message: string,
    facts: Readonly<Record<string, unknown>> = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = "ArgusError";
    this.code = code;
    this.facts = facts;
  }
}

/** The message of anything thrown, for logs and answers. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whether `error` is a Node system error with one of these codes (`ENOENT`, `ECONNREFUSED`, …). */
export function isErrno(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}
