import { type Range, splice } from "#lib/scan.ts";
import type { RpcError } from "#protocol/envelope.ts";

/** Every line that the bridge makes itself starts like this, so that its id is found without a look. */
const OWN_ID: Range = { start: 6, end: 7 };
const OWN_ERROR = Buffer.from('{"id":0,"error":');
const OWN_RESULT = Buffer.from('{"id":0,"result":');

/** `id` as JSON bytes, or a value to be written as JSON. */
export function errorLine(id: Buffer | null, error: RpcError): Buffer {
  return withId(Buffer.concat([OWN_ERROR, Buffer.from(`${JSON.stringify(error)}}\n`)]), id);
}

export function resultLine(id: Buffer, result: unknown): Buffer {
  return withId(Buffer.concat([OWN_RESULT, Buffer.from(`${JSON.stringify(result)}}\n`)]), id);
}

/** A request of the bridge's own; `at` is where its id goes. */
export function requestLine(method: string, params: unknown): { line: Buffer; at: Range } {
  const text = `{"id":0,"method":${JSON.stringify(method)},"params":${JSON.stringify(params)}}\n`;
  return { line: Buffer.from(text), at: OWN_ID };
}

export function notificationLine(method: string, params?: unknown): Buffer {
  return Buffer.from(`${JSON.stringify({ method, params })}\n`);
}

/** Why a request was not served, in the shape of its answer. */
export class RpcFailure extends Error {
  readonly error: RpcError;

  constructor(error: RpcError) {
    super(error.message);
    this.name = "RpcFailure";
    this.error = error;
  }
}

function withId(line: Buffer, id: Buffer | null): Buffer {
  return splice(line, OWN_ID, id ?? Buffer.from("null"));
}
