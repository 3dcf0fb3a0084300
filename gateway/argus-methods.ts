import { z } from "zod";
import { ArgusError } from "#lib/errors.ts";
import { RPC_ERROR } from "#protocol/envelope.ts";
import { chatMethods } from "./methods/chats.ts";
import { cronMethods } from "./methods/crons.ts";
import { deliveryMethods } from "./methods/deliveries.ts";
import { eventMethods } from "./methods/events.ts";
import { inputMethods } from "./methods/inputs.ts";
import type { Caller, CallerMethod, Method } from "./methods/method.ts";
import { nodeMethods } from "./methods/nodes.ts";
import { peopleMethods } from "./methods/people.ts";
import { sessionMethods } from "./methods/sessions.ts";
import { threadMethods } from "./methods/threads.ts";
import { turnMethods } from "./methods/turns.ts";

/** A frame that the gateway answers itself. */
export interface OwnRequest {
  id: unknown;
  method: string;
  params: unknown;
}

const METHODS: Record<string, Method> = {
  ...deliveryMethods,
  ...inputMethods,
  ...turnMethods,
  ...eventMethods,
};
const CALLER_METHODS: Record<string, CallerMethod> = {
  ...sessionMethods,
  ...threadMethods,
  ...chatMethods,
  ...peopleMethods,
  ...cronMethods,
  ...nodeMethods,
};

/** The answer to a client's `argus/*` request, as a frame's text. Never throws. */
export async function answerOwn(
  { id, method, params }: OwnRequest,
  caller: Caller,
): Promise<string> {
  try {
    const run = methodNamed(method);
    if (!run) return errorAnswer(id, RPC_ERROR.methodNotFound, `Method not found: ${method}`);
    return JSON.stringify({ id, result: await run(caller, params ?? {}) });
  } catch (error) {
    const { code, message, data } = rpcError(error);
    return errorAnswer(id, code, message, data);
  }
}

export const methodNames = [...Object.keys(METHODS), ...Object.keys(CALLER_METHODS)];

/** Undefined = there is none. */
export function methodNamed(name: string): CallerMethod | undefined {
  const onLane = METHODS[name];
  if (!onLane) return CALLER_METHODS[name];
  return async (caller, params) =>
    await onLane(await caller.context.lanes.of(await caller.session()), params, caller);
}

export function errorAnswer(id: unknown, code: number, message: string, data?: unknown): string {
  return JSON.stringify({ id, error: { code, message, ...(data ? { data } : {}) } });
}

/** The codes of the seed's clients: -32602 for bad params, -32001 for try again, -32000 for anything else; `data.code` is ours. */
function rpcError(error: unknown): { code: number; message: string; data?: unknown } {
  if (error instanceof z.ZodError)
    return { code: RPC_ERROR.invalidParams, message: badParams(error) };
  if (!(error instanceof ArgusError))
    return { code: RPC_ERROR.server, message: "The gateway failed" };
  const { code, message } = error;
  const data = { code };
  if (code === "InvalidInput" || code === "TooLarge")
    return { code: RPC_ERROR.invalidParams, message, data };
  if (code === "Busy") return { code: RPC_ERROR.busy, message, data: { status: 429, code } };
  return { code: RPC_ERROR.server, message, data };
}

/** What is wrong with the params, in words. */
export function badParams({ issues }: z.ZodError): string {
  const [first] = issues;
  const path = first?.path.join(".") ?? "";
  return path === "text"
    ? "Missing 'text'"
    : `${path || "params"}: ${first?.message ?? "not valid"}`;
}
