import { z } from "zod";
import { CALL_PATH } from "#protocol/client.ts";
import type { ClientFile } from "../client.ts";
import { call } from "./gateway-calls.ts";

export interface SessionCall<T> {
  /** The gateway's choice when absent. */
  session?: string | undefined;
  method: string;
  params: unknown;
  result: z.ZodType<T>;
}

/** One `argus/*` request about a session. Throws what the gateway says, `Unavailable` when it does not answer. */
export async function callSession<T>(
  gateway: ClientFile,
  { session, method, params, result }: SessionCall<T>,
): Promise<T> {
  const request = { method, params, ...(session === undefined ? {} : { session }) };
  const answer = await call(gateway, "POST", CALL_PATH, request);
  return z.object({ result }).parse(await answer.json()).result;
}
