import { z } from "zod";
import type { ArgusSession } from "#crds/kinds.ts";
import { ArgusError } from "#lib/errors.ts";
import { RPC_ERROR } from "#protocol/envelope.ts";
import type { Lanes } from "./lanes/lanes.ts";
import { deliveryMethods } from "./methods/deliveries.ts";
import { eventMethods } from "./methods/events.ts";
import { inputMethods } from "./methods/inputs.ts";
import type { Method } from "./methods/method.ts";
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

/** The answer to a client's `argus/*` request, as a frame's text. Never throws. */
export async function answerOwn(
  { id, method, params }: OwnRequest,
  session: ArgusSession,
  lanes: Lanes,
): Promise<string> {
  try {
    const run = METHODS[method];
    if (!run) return errorAnswer(id, RPC_ERROR.methodNotFound, `Method not found: ${method}`);
    return JSON.stringify({ id, result: await run(await lanes.of(session), params ?? {}) });
  } catch (error) {
    const { code, message, data } = rpcError(error);
    return errorAnswer(id, code, message, data);
  }
}

export function errorAnswer(id: unknown, code: number, message: string, data?: unknown): string {
  return JSON.stringify({ id, error: { code, message, ...(data ? { data } : {}) } });
}

/** The codes of the seed's clients: -32602 for bad params, -32001 for try again, -32000 for anything else. */
function rpcError(error: unknown): { code: number; message: string; data?: unknown } {
  if (error instanceof z.ZodError)
    return { code: RPC_ERROR.invalidParams, message: badParams(error) };
  if (!(error instanceof ArgusError))
    return { code: RPC_ERROR.server, message: "The gateway failed" };
  const { code, message } = error;
  if (code === "InvalidInput" || code === "TooLarge")
    return { code: RPC_ERROR.invalidParams, message };
  if (code === "Busy") return { code: RPC_ERROR.busy, message, data: { status: 429 } };
  return { code: RPC_ERROR.server, message };
}

function badParams({ issues }: z.ZodError): string {
  const [first] = issues;
  const path = first?.path.join(".") ?? "";
  return path === "text"
    ? "Missing 'text'"
    : `${path || "params"}: ${first?.message ?? "not valid"}`;
}
