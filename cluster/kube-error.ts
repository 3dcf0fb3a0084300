import { ArgusError, type ErrorCode } from "#lib/errors.ts";

/** One field that the API server objects to (`details.causes`). */
export interface KubeCause {
  reason?: string;
  message?: string;
  field?: string;
}

/** The parts of a `Status` body that Argus reads. */
export interface KubeStatus {
  kind?: string;
  code?: number;
  reason?: string;
  message?: string;
  details?: { name?: string; kind?: string; retryAfterSeconds?: number; causes?: KubeCause[] };
}

export interface KubeFailure {
  /** What was called, for example `create pods default/main-1a2b3c4d`; never a query string or a body. */
  call: string;
  /** HTTP status; 0 = no answer came. */
  status: number;
  answer?: KubeStatus;
  /** From the Retry-After header or the body. */
  retryAfterMs?: number;
  cause?: unknown;
}

/** Messages longer than this are cut: the API server may repeat what was sent. */
const MAX_MESSAGE_LENGTH = 1024;

/** A failed call to the Kubernetes API. Match on `code`, `status` or `reason`, never on the message. */
export class KubeError extends ArgusError {
  /** HTTP status; 0 = no answer came. */
  readonly status: number;
  /** As the API server says it, for example `AlreadyExists`; `Unreachable` or `Timeout` when no answer came. */
  readonly reason: string;
  readonly retryAfterMs: number | undefined;
  readonly causes: readonly KubeCause[];

  constructor(failure: KubeFailure) {
    const { call, status, answer, cause } = failure;
    const reason = answer?.reason ?? reasonOf(status, cause);
    const words = redact(answer?.message ?? wordsOf(status, cause));
    super(codeOf(status, reason), `${call}: ${words}`, { call, status, reason }, { cause });
    this.name = "KubeError";
    this.status = status;
    this.reason = reason;
    this.retryAfterMs = failure.retryAfterMs;
    this.causes = answer?.details?.causes ?? [];
  }
}

/** Whether `error` is the API server's answer with this HTTP status, and this reason where one is given. */
export function isKubeError(error: unknown, status: number, reason?: string): error is KubeError {
  return (
    error instanceof KubeError &&
    error.status === status &&
    (reason === undefined || error.reason === reason)
  );
}

export function isAlreadyExists(error: unknown): boolean {
  return isKubeError(error, 409, "AlreadyExists");
}

/** Somebody else wrote first, or a precondition (uid, resourceVersion) does not hold. */
export function isConflict(error: unknown): boolean {
  return isKubeError(error, 409, "Conflict");
}

export function isNotFound(error: unknown): boolean {
  return isKubeError(error, 404);
}

/** The write may have been done all the same: nobody answered, or a server that failed on the way. */
export function isWithoutAnswer(error: unknown): boolean {
  return error instanceof KubeError && (error.status === 0 || error.status >= 500);
}

/** The resource version is too old: list again. */
export function isExpired(error: unknown): boolean {
  return (
    isKubeError(error, 410) ||
    // After a restore from a backup the server's own version may be behind ours.
    (error instanceof KubeError &&
      error.causes.some((cause) => cause.reason === "ResourceVersionTooLarge"))
  );
}

const CODES: Record<number, ErrorCode> = {
  400: "InvalidInput",
  401: "Unauthorized",
  403: "Forbidden",
  404: "NotFound",
  409: "Conflict",
  410: "Conflict",
  413: "TooLarge",
  415: "InvalidInput",
  422: "InvalidInput",
  429: "Busy",
  504: "Timeout",
};

function codeOf(status: number, reason: string): ErrorCode {
  if (status === 0) return reason === "Timeout" ? "Timeout" : "Unavailable";
  return CODES[status] ?? "Unavailable";
}

function reasonOf(status: number, cause: unknown): string {
  if (status !== 0) return `HTTP${status}`;
  return cause instanceof Error && cause.name === "TimeoutError" ? "Timeout" : "Unreachable";
}

function wordsOf(status: number, cause: unknown): string {
  if (status !== 0) return `the Kubernetes API answered ${status}`;
  const why = cause instanceof Error ? cause.message : String(cause);
  return `no answer from the Kubernetes API (${why})`;
}

/** Bearer tokens and JSON web tokens never belong into a message. */
function redact(text: string): string {
  return text
    .replace(/\bBearer\s+\S+/gi, "Bearer [redacted]")
    .replace(/\beyJ[\w-]+\.[\w-]*\.?[\w-]*/g, "[redacted]")
    .slice(0, MAX_MESSAGE_LENGTH);
}
