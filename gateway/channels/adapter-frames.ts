import { z } from "zod";
import { ArgusError, type ErrorCode } from "#lib/errors.ts";
import { RPC_ERROR } from "#protocol/envelope.ts";
import { UnreadableDocument } from "../store/unreadable.ts";
import type { AdapterConnection } from "./adapter-connection.ts";

const Frame = z.object({
  id: z.union([z.number(), z.string()]),
  method: z.string().max(128),
  params: z.unknown().optional(),
});
export type Request = z.infer<typeof Frame>;
export type AdapterMethod = (connection: AdapterConnection, params: unknown) => Promise<unknown>;

/** Undefined = not a request. Pure. */
export function readFrame(text: string): Request | undefined {
  try {
    return Frame.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** The frame that answers the request. Never throws. */
export async function answerTo(
  { id, method, params }: Request,
  methods: Record<string, AdapterMethod>,
  connection: AdapterConnection,
): Promise<object> {
  try {
    const run = methods[method];
    if (run) return { id, result: await run(connection, params ?? {}) };
    return {
      id,
      error: { code: RPC_ERROR.methodNotFound, message: `Method not found: ${method}` },
    };
  } catch (error) {
    return { id, error: refusalOf(error) };
  }
}

const CODES: Partial<Record<ErrorCode, number>> = {
  InvalidInput: RPC_ERROR.invalidParams,
  TooLarge: RPC_ERROR.invalidParams,
  Busy: RPC_ERROR.busy,
};

/** `data.code` says whether another try may help. Pure. */
export function refusalOf(error: unknown): { code: number; message: string; data: object } {
  if (error instanceof z.ZodError) {
    const [first] = error.issues;
    const message = `${first?.path.join(".") || "params"}: ${first?.message ?? "not valid"}`;
    return { code: RPC_ERROR.invalidParams, message, data: { code: "InvalidInput" } };
  }
  if (error instanceof ArgusError) {
    const code = CODES[error.code] ?? RPC_ERROR.server;
    // A person must repair it: an adapter that asked until then would hear nobody else meanwhile.
    const isFinal = error.cause instanceof UnreadableDocument;
    return { code, message: error.message, data: { code: isFinal ? "Conflict" : error.code } };
  }
  return { code: RPC_ERROR.server, message: "The gateway failed", data: { code: "Internal" } };
}
