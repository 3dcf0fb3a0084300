import { z } from "zod";

/** JSON-RPC ids are opaque; every JSON value comes back unchanged. */
export type RpcId = unknown;

export interface RpcError {
  code: number;
  message: string;
  data?: unknown;
}

/** A loose JSON-RPC message without the `jsonrpc` field, as the app-server and `/ws` speak it. Unknown fields survive. */
export const Envelope = z.looseObject({
  id: z.unknown().optional(),
  method: z.string().optional(),
  params: z.unknown().optional(),
  result: z.unknown().optional(),
  error: z.unknown().optional(),
});
export type Envelope = z.infer<typeof Envelope>;

/** JSON-RPC error codes that Argus itself answers with. */
export const RPC_ERROR = {
  /** The line is not a JSON object. */
  parse: -32700,
  /** The request is not valid here; the message says why. */
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  /** Busy thread, draining, too many requests in flight: nothing was started, try again later. */
  busy: -32001,
  /** Anything else; the message says what happened. */
  server: -32000,
} as const;
