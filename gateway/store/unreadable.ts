import { ArgusError } from "#lib/errors.ts";

export type UnreadableReason =
  | "ChecksumMismatch" // what is stored is not what was written
  | "NewerSchema" // a newer Argus wrote it
  | "UnknownShape"; // it parses, and is no document of its kind

/**
 * One document that cannot be read; all others can. It is left as it is and never taken for an empty one, so whatever it belongs to
 * has to stop and say so. Match on `reason`.
 */
export class UnreadableDocument extends ArgusError {
  readonly reason: UnreadableReason;

  constructor(reason: UnreadableReason, message: string, facts: Record<string, unknown>) {
    super("Internal", message, { ...facts, reason });
    this.name = "UnreadableDocument";
    this.reason = reason;
  }
}
