import { ArgusError } from "#lib/errors.ts";
import { RPC_ERROR, type RpcError } from "#protocol/envelope.ts";
import type { Flight } from "./flight.ts";
import { RpcFailure, requestLine } from "./rpc.ts";

export interface CallOptions {
  timeoutMs: number;
  /** Aborted = the answer is not waited for any more. */
  signal?: AbortSignal;
}

/** The bridge's own requests to the app-server. */
export class Caller {
  readonly #flight: Flight;

  constructor(flight: Flight) {
    this.#flight = flight;
  }

  /** Resolves to the result; throws RpcFailure with the app-server's error, a timeout or its end. */
  call(method: string, params: unknown, { timeoutMs, signal }: CallOptions): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(aborted(method));
      const onAbort = () => reject(aborted(method));
      signal?.addEventListener("abort", onAbort, { once: true });
      const done = () => signal?.removeEventListener("abort", onAbort);
      this.#flight.send({
        method,
        peer: undefined,
        ...requestLine(method, params),
        timeoutMs,
        answered: (line) => {
          done();
          settle(line, resolve, reject);
        },
        failed: (error) => {
          done();
          reject(new RpcFailure(error));
        },
      });
    });
  }
}

function aborted(method: string): ArgusError {
  return new ArgusError("Unavailable", `the app-server ended before it answered ${method}`);
}

function settle(
  line: Buffer,
  resolve: (result: unknown) => void,
  reject: (error: Error) => void,
): void {
  const answer = parseAnswer(line);
  if (answer.error) reject(new RpcFailure(answer.error));
  else resolve(answer.result);
}

/** An answer, as far as the bridge must read it. Anything odd is an error. */
export function parseAnswer(line: Buffer): { result?: unknown; error?: RpcError } {
  try {
    const { result, error } = JSON.parse(line.toString("utf8")) as Record<string, unknown>;
    if (error === undefined || error === null) return { result };
    const { code, message, data } = error as Partial<RpcError>;
    return { error: { code: Number(code), message: String(message), data } };
  } catch {
    return { error: { code: RPC_ERROR.server, message: "the app-server's answer is not JSON" } };
  }
}
