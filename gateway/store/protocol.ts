import type { ErrorCode } from "#lib/errors.ts";
import type { UnreadableReason } from "./unreadable.ts";

/** What the worker thread is asked for. */
export type StoreRequest = { id: number } & (Operation | Changes);

export type Operation =
  | { op: "read"; uid: string }
  | { op: "commit"; uid: string; expected: number; body: string }
  | { op: "overwrite"; uid: string; body: string }
  | { op: "list" }
  | { op: "remove"; uid: string; expected: number }
  | { op: "close" };

/** The changes of one turn of the event loop: many small ones cost one message, and their bytes are handed over, not copied. */
export interface Changes {
  op: "changes";
  uids: string[];
  expected: number[];
  /** Bytes of each change; all of them, as JSON, follow each other in `bytes`. */
  lengths: number[];
  /** Places of those that set the document as a whole, so that what was before them is not needed. */
  whole: number[];
  bytes: Uint8Array;
}

export type Outcome =
  | { id: number; value: unknown }
  | { id: number; error: PlainError }
  /** Of changes: those that were refused, by their place. */
  | { id: number; refused: [place: number, error: PlainError][] };

export type StoreReply =
  /** `whole` = a document that should be committed whole next time. */
  | { event: "outcomes"; outcomes: Outcome[]; whole?: string | undefined }
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
