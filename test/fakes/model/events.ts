import { randomUUID } from "node:crypto";
import type { ExecArguments } from "./script.ts";

/** One server-sent event of the Responses API: `type` is also its name on the wire. */
export interface ModelEvent {
  type: string;
  [field: string]: unknown;
}

export interface Reply {
  id: string;
  model: string;
  /** Finished items, for `response.completed`. */
  output: unknown[];
}

export const newReply = (model: string): Reply => ({
  id: `resp_${randomUUID()}`,
  model,
  output: [],
});

const response = (reply: Reply, status: string, extra: object = {}) => ({
  id: reply.id,
  object: "response",
  created_at: Math.floor(Date.now() / 1000),
  status,
  model: reply.model,
  output: reply.output,
  parallel_tool_calls: false,
  tools: [],
  error: null,
  incomplete_details: null,
  ...extra,
});

export const created = (reply: Reply): ModelEvent => ({
  type: "response.created",
  response: response(reply, "in_progress"),
});

export const failed = (reply: Reply, code: string): ModelEvent => ({
  type: "response.failed",
  response: response(reply, "failed", {
    error: { code, message: `The fake model fails: ${code}` },
  }),
});

export const completed = (reply: Reply): ModelEvent => ({
  type: "response.completed",
  response: response(reply, "completed", {
    usage: {
      input_tokens: 10,
      input_tokens_details: { cached_tokens: 0 },
      output_tokens: 5,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: 15,
    },
  }),
});

/** A reasoning item with one summary part. */
export function* reasoning(reply: Reply, text: string): Generator<ModelEvent> {
  const id = `rs_${randomUUID()}`;
  const at = { item_id: id, output_index: reply.output.length, summary_index: 0 };
  const part = { type: "summary_text", text };
  yield added(reply, { id, type: "reasoning", summary: [] });
  yield { type: "response.reasoning_summary_part.added", ...at, part: { ...part, text: "" } };
  yield { type: "response.reasoning_summary_text.delta", ...at, delta: text };
  yield done(reply, { id, type: "reasoning", summary: [part] });
}

/** One assistant message in these deltas. */
export function* message(reply: Reply, deltas: readonly string[]): Generator<ModelEvent> {
  const id = `msg_${randomUUID()}`;
  const at = { item_id: id, output_index: reply.output.length, content_index: 0 };
  const item = { id, type: "message", role: "assistant" };
  const part = (text: string) => ({ type: "output_text", text, annotations: [] });
  yield added(reply, { ...item, status: "in_progress", content: [] });
  yield { type: "response.content_part.added", ...at, part: part("") };
  for (const delta of deltas) yield { type: "response.output_text.delta", ...at, delta };
  const text = deltas.join("");
  yield { type: "response.output_text.done", ...at, text };
  yield { type: "response.content_part.done", ...at, part: part(text) };
  yield done(reply, { ...item, status: "completed", content: [part(text)] });
}

/** A call of any tool, in its namespace if it has one. */
export function* toolCall(
  reply: Reply,
  { name, namespace, arguments: text }: { name: string; namespace?: string; arguments: string },
): Generator<ModelEvent> {
  const id = `fc_${randomUUID()}`;
  const call = { id, type: "function_call", call_id: `call_${randomUUID()}`, name };
  const item = namespace === undefined ? call : { ...call, namespace };
  yield added(reply, { ...item, status: "in_progress", arguments: "" });
  yield done(reply, { ...item, status: "completed", arguments: text });
}

/** A call of exec_command as a model that Codex does not know makes it. */
export function* functionCall(reply: Reply, exec: ExecArguments): Generator<ModelEvent> {
  const id = `fc_${randomUUID()}`;
  const text = JSON.stringify(exec);
  const at = { item_id: id, output_index: reply.output.length };
  const item = { id, type: "function_call", call_id: `call_${randomUUID()}`, name: "exec_command" };
  yield added(reply, { ...item, status: "in_progress", arguments: "" });
  yield { type: "response.function_call_arguments.delta", ...at, delta: text };
  yield { type: "response.function_call_arguments.done", ...at, arguments: text };
  yield done(reply, { ...item, status: "completed", arguments: text });
}

/** The same call as a known model makes it: a line of code for Codex's code-mode host. */
export function* codeCall(reply: Reply, exec: ExecArguments): Generator<ModelEvent> {
  const id = `ctc_${randomUUID()}`;
  const input = `const r = await tools.exec_command(${JSON.stringify(exec)}); text(r.output)`;
  const item = {
    id,
    type: "custom_tool_call",
    call_id: `call_${randomUUID()}`,
    namespace: "functions",
    name: "exec",
  };
  yield added(reply, { ...item, status: "in_progress", input: "" });
  yield done(reply, { ...item, status: "completed", input });
}

const added = ({ output }: Reply, item: object): ModelEvent => ({
  type: "response.output_item.added",
  output_index: output.length,
  item,
});

function done({ output }: Reply, item: object): ModelEvent {
  output.push(item);
  return { type: "response.output_item.done", output_index: output.length - 1, item };
}
