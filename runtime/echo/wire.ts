import { once } from "node:events";
import type { Writable } from "node:stream";
import type { ErrorCode } from "#lib/errors.ts";
import { ArgusError } from "#lib/errors.ts";
import { RPC_ERROR, type RpcError } from "#protocol/envelope.ts";

/** Writes messages, one JSON object a line. */
export class Wire {
  readonly #output: Writable;

  constructor(output: Writable) {
    this.#output = output;
  }

  answer(id: unknown, result: unknown): void {
    this.#write({ id, result });
  }

  refuse(id: unknown, error: RpcError): void {
    this.#write({ error, id });
  }

  notify(method: string, params: unknown): void {
    this.#write({ method, params, emittedAtMs: Date.now() });
  }

  ask(id: number, method: string, params: unknown): void {
    this.#write({ method, id, params });
  }

  /** Waits until the reader has taken enough; returns at once when it has. Throws the signal's reason. */
  async ready(signal: AbortSignal): Promise<void> {
    if (this.#output.writableNeedDrain) await once(this.#output, "drain", { signal });
  }

  #write(message: object): void {
    this.#output.write(`${JSON.stringify(message)}\n`);
  }
}

/** An error that is the answer to a request, in Codex's words. */
export class Refusal extends Error {
  readonly error: RpcError;

  constructor(message: string, more: Partial<RpcError> = {}) {
    super(message);
    this.name = "Refusal";
    this.error = { code: RPC_ERROR.invalidRequest, message, ...more };
  }
}

const CODES: Partial<Record<ErrorCode, number>> = {
  InvalidInput: RPC_ERROR.invalidParams,
  TooLarge: RPC_ERROR.invalidParams,
};

/** The answer to a request that threw `error`. */
export function rpcError(error: unknown): RpcError {
  if (error instanceof Refusal) return error.error;
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof ArgusError ? CODES[error.code] : undefined;
  return { code: code ?? RPC_ERROR.server, message };
}
