import { type ClientRequest, type IncomingMessage, request as plain } from "node:http";
import { request as secure } from "node:https";
import { errorMessage } from "#lib/errors.ts";
import type { PartOutcome } from "#protocol/channel.ts";
import { outcomeOf } from "./outcome.ts";

/** The receiver's answer must be there by then. */
const ANSWER_MS = 30_000;

export interface Post {
  url: string;
  headers: Record<string, string>;
  body: string;
  /** What the part is called once it is taken. */
  ref: string;
}

/** One request, one try, on a connection of its own: one that was kept could be closed by its peer just now. Never throws. */
export async function post(
  { url, headers, body, ref }: Post,
  signal: AbortSignal,
): Promise<PartOutcome> {
  const inTime = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
  const open = url.startsWith("https:") ? secure : plain;
  const length = String(Buffer.byteLength(body));
  const all = { ...headers, "content-type": "application/json", "content-length": length };
  const request = open(url, { method: "POST", headers: all, agent: false, signal: inTime });
  const connected = connection(request, url);
  const answered = answer(request);
  try {
    await Promise.race([connected.made, answered]);
    request.end(body);
    const { statusCode: status = 0, headers: said } = await answered;
    return outcomeOf({ status, retryAfter: said["retry-after"] }, ref, Date.now());
  } catch (error) {
    const reason = signal.aborted ? "the adapter was stopped" : errorMessage(error);
    return connected.isMade()
      ? { state: "unknown", reason: `no answer of the receiver: ${reason}` }
      : { state: "notSent", reason: `the receiver cannot be reached: ${reason}` };
  }
}

/** No byte of the request leaves before the connection is made. */
function connection(request: ClientRequest, url: string) {
  const event = url.startsWith("https:") ? "secureConnect" : "connect";
  const made = Promise.withResolvers<void>();
  let isMade = false;
  request.once("socket", (socket) => {
    socket.once(event, () => {
      isMade = true;
      made.resolve();
    });
  });
  // Opens the connection; the head goes out with the body.
  request.on("error", () => undefined);
  return { made: made.promise, isMade: () => isMade };
}

/** The head of the answer; its body is not read. */
function answer(request: ClientRequest): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.once("error", reject);
    request.once("response", (response: IncomingMessage) => {
      response.on("error", () => undefined);
      response.destroy();
      resolve(response);
    });
  });
}
