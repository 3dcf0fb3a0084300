/** One wrong field. `message` has no field name: `Invalid value: 10: …`. */
export interface FieldError {
  reason:
    | "FieldValueInvalid"
    | "FieldValueRequired"
    | "FieldValueNotSupported"
    | "FieldValueDuplicate"
    | "FieldValueForbidden"
    | "FieldValueTooLong"
    | "FieldValueTooMany"
    | "FieldValueTypeInvalid";
  field: string;
  message: string;
}

export interface Cause {
  reason: string;
  message: string;
  field?: string;
}

interface Details {
  name?: string;
  group?: string;
  kind?: string;
  uid?: string;
  causes?: Cause[];
  retryAfterSeconds?: number;
}

/** What a Status or an error is about. */
export interface Target {
  group: string;
  plural: string;
  kind: string;
}

/** An answer of kind Status with status Failure. */
export class ApiError extends Error {
  readonly code: number;
  readonly reason: string;
  readonly details: Details | undefined;

  constructor(code: number, reason: string, message: string, details?: Details) {
    super(message);
    this.name = "ApiError";
    this.code = code;
    this.reason = reason;
    this.details = details;
  }
}

/** The body of a failed request. */
export function failureStatus({ code, reason, message, details }: ApiError) {
  return {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Failure",
    message,
    ...(reason && { reason }),
    ...(details && { details }),
    code,
  };
}

/** The body of a deletion that is complete. */
export function successStatus({ group, plural }: Target, name: string, uid: string | undefined) {
  return {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Success",
    details: { name, ...(group && { group }), kind: plural, ...(uid && { uid }) },
  };
}

/** `pods`, `argussessions.argus.dev` */
export function qualified({ group, plural }: Target): string {
  return group ? `${plural}.${group}` : plural;
}

const about = ({ group, plural }: Target, name: string): Details => ({
  name,
  ...(group && { group }),
  kind: plural,
});

export const badRequest = (message: string) => new ApiError(400, "BadRequest", message);
export const unauthorized = () => new ApiError(401, "Unauthorized", "Unauthorized");
export const unknownPath = () =>
  new ApiError(404, "NotFound", "the server could not find the requested resource", {});
export const methodNotAllowed = () =>
  new ApiError(
    405,
    "MethodNotAllowed",
    "the server does not allow this method on the requested resource",
    {},
  );

export const notFound = (target: Target, name: string) =>
  new ApiError(404, "NotFound", `${qualified(target)} "${name}" not found`, about(target, name));

export const alreadyExists = (target: Target, name: string) =>
  new ApiError(
    409,
    "AlreadyExists",
    `${qualified(target)} "${name}" already exists`,
    about(target, name),
  );

export const conflict = (target: Target, name: string, why: string) =>
  new ApiError(
    409,
    "Conflict",
    `Operation cannot be fulfilled on ${qualified(target)} "${name}": ${why}`,
    about(target, name),
  );

export const modified = (target: Target, name: string) =>
  conflict(
    target,
    name,
    "the object has been modified; please apply your changes to the latest version and try again",
  );

export const expired = (message: string) => new ApiError(410, "Expired", message);

export const forbidden = (target: Target, name: string, why: string) =>
  new ApiError(
    403,
    "Forbidden",
    `${qualified(target)} ${name ? `"${name}" ` : ""}is forbidden: ${why}`,
    about(target, name),
  );

/** 422: the message lists every wrong field, `details.causes` names each. */
export function invalid(target: Target, name: string, errors: FieldError[]): ApiError {
  const { group, kind } = target;
  const lines = errors.map(({ field, message }) => `${field}: ${message}`);
  const list = lines.length === 1 ? lines[0] : `[${lines.join(", ")}]`;
  return new ApiError(
    422,
    "Invalid",
    `${group ? `${kind}.${group}` : kind} "${name}" is invalid: ${list}`,
    { name, ...(group && { group }), kind, causes: errors },
  );
}

export const required = (field: string, detail = ""): FieldError => ({
  reason: "FieldValueRequired",
  field,
  message: detail ? `Required value: ${detail}` : "Required value",
});

export const invalidValue = (field: string, value: unknown, detail: string): FieldError => ({
  reason: "FieldValueInvalid",
  field,
  message: `Invalid value: ${JSON.stringify(value)}: ${detail}`,
});

export const forbiddenField = (field: string, detail: string): FieldError => ({
  reason: "FieldValueForbidden",
  field,
  message: `Forbidden: ${detail}`,
});
