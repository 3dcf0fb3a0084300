import { RPC_ERROR } from "#protocol/envelope.ts";
import { peek } from "./peek.ts";

/** A frame that the gateway answers itself has to be looked into; one longer than this is refused unread. */
const MAX_OWN_BYTES = 1024 * 1024;

/**
 * What the gateway does with a client's message `buffer[start, end)`: undefined = forward it, else the answer
 * (empty = none: it was a notification).
 */
export function intercept(buffer: Buffer, start: number, end: number): string | undefined {
  const seen = peek(buffer, start, end);
  if (seen === "forward") return undefined;
  if (seen === "reserved") return answerReserved(buffer, start, end);
  return errorAnswer(null, RPC_ERROR.parse, "Send one JSON object per frame.");
}

function answerReserved(buffer: Buffer, start: number, end: number): string {
  if (end - start > MAX_OWN_BYTES) {
    return errorAnswer(null, RPC_ERROR.invalidRequest, `At most ${MAX_OWN_BYTES} bytes here.`);
  }
  try {
    const frame = JSON.parse(buffer.toString("utf8", start, end)) as Record<string, unknown>;
    const id = frame["id"] ?? null;
    if (id === null) return "";
    return errorAnswer(
      id,
      RPC_ERROR.methodNotFound,
      `Method not found: ${String(frame["method"])}`,
    );
  } catch {
    return errorAnswer(null, RPC_ERROR.parse, "The frame is not JSON.");
  }
}

function errorAnswer(id: unknown, code: number, message: string): string {
  return JSON.stringify({ id, error: { code, message } });
}
