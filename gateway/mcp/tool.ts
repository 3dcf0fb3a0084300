import type { z } from "zod";
import type { ArgusSession } from "#crds/kinds.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { GatewayContext } from "../context.ts";

/** One call of a tool. The session is the caller's own: it comes from the token, never from an argument. */
export interface ToolCall {
  context: GatewayContext;
  session: ArgusSession;
  /** The same for a repeat of the same call: MCP session and request id. */
  callId: string;
  /** Aborts when the caller withdraws the call; a lost connection withdraws nothing. */
  signal: AbortSignal;
  /** Tells the caller how far it is; nothing is sent when the caller did not ask. */
  progress: (message: string) => void;
}

/** What a tool answers: an object, told both structured and as JSON text. `isError` marks a failure that the agent is to read. */
export interface ToolResult {
  structured: Record<string, unknown>;
  isError?: boolean;
}

/** A tool of the agent. `input` is checked before `run`; what `run` throws becomes a failure with a code. */
export interface Tool<I extends z.ZodObject = z.ZodObject> {
  name: string;
  title: string;
  description: string;
  input: I;
  run(args: z.infer<I>, call: ToolCall): Promise<ToolResult>;
}

/** Keeps the types of `input` and `run` together. */
export function tool<I extends z.ZodObject>(definition: Tool<I>): Tool {
  return {
    ...definition,
    run: (args, call) => definition.run(definition.input.parse(args), call),
  };
}

/** The seed's codes, and our own for what it did not know. */
const CODES: Partial<Record<ArgusError["code"], string>> = {
  InvalidInput: "INVALID_ARGUMENT",
  TooLarge: "INVALID_ARGUMENT",
  NotFound: "NOT_FOUND",
  Busy: "BUSY",
  Unavailable: "NOT_READY",
  Timeout: "TIMEOUT",
  Forbidden: "UNSUPPORTED",
};

/** A failure as the agent reads it: `{ok:false, error:{code, message}}`. */
export function failure(code: string, message: string, more: object = {}): ToolResult {
  return { structured: { ok: false, error: { code, message, ...more } }, isError: true };
}

/** Anything thrown as a failure; a defect of ours says nothing about its inside. */
export function failed(error: unknown): ToolResult {
  if (!(error instanceof ArgusError)) return failure("INTERNAL_ERROR", "The gateway failed.");
  return failure(CODES[error.code] ?? "INTERNAL_ERROR", errorMessage(error));
}
