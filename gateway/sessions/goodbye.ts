import type { Told } from "#cluster/events.ts";

// What the events of a deleted session say. Pure.

/** A deleted session's last answers are waited for this long. */
export const MAX_CLOSING_MS = 5 * 60_000;

export function closed(ended: number): Told {
  const message = `${ended} open messages and events ended with the session; their senders are told`;
  return { type: "Normal", reason: "SessionClosed", message };
}

export function forced(open: number | "unreadable"): Told {
  const message =
    open !== "unreadable"
      ? `the session was let go although ${open} answers could not be delivered within ${MAX_CLOSING_MS / 60_000} minutes`
      : "the session was let go although its document could not be read: it stays in the store";
  return { type: "Warning", reason: "DeletionForced", message };
}
