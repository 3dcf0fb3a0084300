import { writeFileSync } from "node:fs";
import { errorMessage } from "#lib/errors.ts";
import type { TerminationMessage } from "#protocol/bridge.ts";

/** A kubelet reads no more of the file. */
const MAX_BYTES = 4096;

/**
 * Leaves the cause of death as one JSON object of at most 4096 bytes, its message shortened if need be. Synchronous,
 * because it is among the last things that a process does; never throws, because nobody is left to hear it.
 */
export function writeTermination(file: string, message: TerminationMessage): void {
  try {
    writeFileSync(file, fit(message));
  } catch {
    // Outside of a pod there may be no such file; the log tells the same.
  }
}

/** The bridge itself ends because of a defect or of what it needs and did not get. Never throws. */
export function leaveFailure(file: string, error: unknown): void {
  writeTermination(file, { reason: "BridgeFailed", message: errorMessage(error).slice(0, 2048) });
}

function fit(message: TerminationMessage): string {
  let text = JSON.stringify(message);
  for (let length = 2048; Buffer.byteLength(text) > MAX_BYTES; length = Math.floor(length / 2)) {
    text = JSON.stringify({ ...message, message: message.message.slice(0, length).toWellFormed() });
  }
  return text;
}
