import { once } from "node:events";
import { WebSocket } from "ws";
import { z } from "zod";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import { RPC_ERROR } from "#protocol/envelope.ts";
import type { ClientFile } from "../client.ts";

const CALL_MS = 30_000;
const REQUEST_ID = 1;

const Answer = z.looseObject({
  id: z.literal(REQUEST_ID),
  result: z.unknown().optional(),
  error: z.looseObject({ code: z.number(), message: z.string() }).optional(),
});

export interface SessionCall<T> {
  /** The gateway's choice when absent. */
  session?: string | undefined;
  method: string;
  params: unknown;
  result: z.ZodType<T>;
}

/** One `argus/*` request about a session. Throws what the gateway says, `Unavailable` when it does not answer. */
export async function callSession<T>(
  { url, token }: ClientFile,
  { session, method, params, result }: SessionCall<T>,
): Promise<T> {
  const address = new URL(`${url.replace(/^http/, "ws")}/ws`);
  if (session) address.searchParams.set("session", session);
  const socket = new WebSocket(address, { headers: { authorization: `Bearer ${token}` } });
  const answer = answerOn(socket);
  try {
    await Promise.race([once(socket, "open"), answer]);
    socket.send(JSON.stringify({ id: REQUEST_ID, method, params }));
    return result.parse(await answer);
  } finally {
    socket.close();
  }
}

function answerOn(socket: WebSocket): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const away = (why: string) =>
      reject(new ArgusError("Unavailable", `the gateway does not answer (${why}). Is it running?`));
    const timer = setTimeout(() => away("no answer"), CALL_MS);
    socket.on("error", (error) => away(errorMessage(error)));
    socket.on("close", (code, reason) => {
      clearTimeout(timer);
      if (code === 1008) reject(new ArgusError("Forbidden", reason.toString()));
      else away(`closed with ${code}`);
    });
    socket.on("message", (data: Buffer) => {
      const { data: said } = Answer.safeParse(JSON.parse(data.toString("utf8")));
      if (said?.error) {
        const code = said.error.code === RPC_ERROR.busy ? "Busy" : "InvalidInput";
        reject(new ArgusError(code, said.error.message));
      } else if (said) resolve(said.result);
    });
  });
}
