import type { ErrorCode } from "#lib/errors.ts";
import type { UnreadableReason } from "./unreadable.ts";

/** Between the store and its worker thread. */
export type StoreRequest =
  | { id: number; op: "read"; uid: string }
  | { id: number; op: "commit"; uid: string; expected: number; body: string }
  | { id: number; op: "list" }
  | { id: number; op: "remove"; uid: string; expected: number }
  | { id: number; op: "close" };

export type StoreReply =
  | { id: number; value: unknown }
  | { id: number; error: PlainError }
  /** The database is open and locked by us. */
  | { event: "open" }
  /** Somebody else has it; sent once per holder. */
  | { event: "held"; holder: string }
  /** No promise can be kept any more. */
  | { event: "fatal"; message: string };

/** An ArgusError between threads; with a `reason` it was an UnreadableDocument. */
export interface PlainError {
  code: ErrorCode;
  message: string;
  facts: Record<string, unknown>;
  reason?: UnreadableReason;
}
