import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import {
  codeCall,
  completed,
  created,
  failed,
  functionCall,
  type ModelEvent,
  message,
  newReply,
  type Reply,
  reasoning,
  toolCall,
} from "./events.ts";
import { type Act, decide } from "./script.ts";
import type { Said } from "./words.ts";

/** Item, part and both deltas, but neither their ends nor `response.completed`. */
const CUT_AFTER_EVENTS = 4;

const STATUS_CODES: Record<number, string> = { 401: "invalid_api_key", 429: "rate_limit_exceeded" };

/** Answers with an HTTP error as the Responses API words it. */
export function answerStatus(response: ServerResponse, status: number): void {
  const type = status >= 500 ? "server_error" : "invalid_request_error";
  const code = STATUS_CODES[status] ?? null;
  const error = { message: `The fake model answers ${status}`, type, code, param: null };
  const retry = status === 429 ? { "retry-after": "1" } : {};
  response.writeHead(status, { "content-type": "application/json", ...retry });
  response.end(JSON.stringify({ error }));
}

/** Streams the answer to one request. Resolves when it has ended, also when the client left (`gone`). */
export async function answer(
  response: ServerResponse,
  said: Said & { model: string },
  gone: AbortSignal,
): Promise<void> {
  const act = decide(said);
  if (act.kind === "status") return answerStatus(response, act.status);
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
  const reply = newReply(said.model);
  let sequence = 0;
  for (const event of events(act, said.codeMode, reply)) {
    await write(response, { ...event, sequence_number: sequence++ }, gone);
    if (event.type.endsWith("text.delta") && act.kind === "say") await pause(act.pauseMs, gone);
    if (gone.aborted) return;
  }
  if (act.kind === "stall" && !gone.aborted) await once(gone, "abort");
  response.end();
}

function* events(act: Act, codeMode: boolean, reply: Reply): Generator<ModelEvent> {
  yield created(reply);
  if (act.kind === "failed") yield failed(reply, act.code);
  if (act.kind === "cut") yield* message(reply, ["This breaks ", "off"]).take(CUT_AFTER_EVENTS);
  if (act.kind === "tool") yield* toolCall(reply, act);
  if (act.kind === "call") yield* (codeMode ? codeCall : functionCall)(reply, act.arguments);
  if (act.kind === "say") {
    if (act.reasoning) yield* reasoning(reply, act.reasoning);
    yield* message(reply, act.deltas);
  }
  if (["call", "tool", "say"].includes(act.kind)) yield completed(reply);
}

async function write(response: ServerResponse, event: ModelEvent, gone: AbortSignal) {
  if (gone.aborted) return;
  const text = `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
  if (!response.write(text)) await once(response, "drain", { signal: gone }).catch(() => {});
}

async function pause(ms: number, gone: AbortSignal): Promise<void> {
  if (ms > 0) await delay(ms, undefined, { signal: gone }).catch(() => {});
}
