import { scanLine, valueAt } from "#lib/scan.ts";
import { RPC_ERROR } from "#protocol/envelope.ts";
import { MAX_EVENT_BYTES, MAX_INPUT_BYTES } from "#protocol/lane-entry.ts";
import { errorAnswer, type OwnRequest } from "./argus-methods.ts";
import { peek } from "./peek.ts";

/** A frame that the gateway answers itself has to be looked into; one longer than this is refused unread. */
const MAX_OWN_BYTES = 1024 * 1024;
/** A longer id of such a frame is not repeated. */
const MAX_ID_BYTES = 1024;

/** What the gateway does with a client's message: pass it on, say `answer` (empty = nothing), or serve the request. */
export type Taken = { answer: string } | { request: OwnRequest };

/** Looks at a client's message `buffer[start, end)`; undefined = forward it. */
export function intercept(buffer: Buffer, start: number, end: number): Taken | undefined {
  const seen = peek(buffer, start, end);
  if (seen === "forward") return undefined;
  if (seen === "reserved") return reserved(buffer, start, end);
  return { answer: errorAnswer(null, RPC_ERROR.parse, "Send one JSON object per frame.") };
}

function reserved(buffer: Buffer, start: number, end: number): Taken {
  if (end - start > MAX_OWN_BYTES) {
    const message = `The request is too large: at most ${MAX_OWN_BYTES} bytes here, of which a message may have at most ${MAX_INPUT_BYTES} and an event at most ${MAX_EVENT_BYTES}.`;
    const id = idOf(buffer.subarray(start, end));
    return { answer: errorAnswer(id, RPC_ERROR.invalidRequest, message) };
  }
  try {
    const frame = JSON.parse(buffer.toString("utf8", start, end)) as Record<string, unknown>;
    const id = frame["id"] ?? null;
    if (id === null) return { answer: "" };
    return { request: { id, method: String(frame["method"]), params: frame["params"] } };
  } catch {
    return { answer: errorAnswer(null, RPC_ERROR.parse, "The frame is not JSON.") };
  }
}

/** Of a frame that is not read otherwise: whoever sent it waits for an answer with its id. */
function idOf(line: Buffer): unknown {
  const range = scanLine(line)?.id;
  const isShort = range !== undefined && range.end - range.start <= MAX_ID_BYTES;
  const id = isShort ? valueAt(line, range) : null;
  return typeof id === "string" || typeof id === "number" ? id : null;
}
