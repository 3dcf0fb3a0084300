import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { WebSocket } from "ws";
import { z } from "zod";
import { backoffMs, systemClock } from "#lib/clock.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import { RPC_ERROR } from "#protocol/envelope.ts";
import { type ClientFile, findGateway } from "../client.ts";
import type { Environment } from "../config.ts";
import { EXIT } from "../exit.ts";

export interface SendCommand {
  session?: string;
  text: string;
  key?: string;
  url?: string;
  token?: string;
  data?: string;
  environment: Environment;
}

const ATTEMPTS = 6;
const RETRY = { baseMs: 250, maxMs: 5000 };
const CALL_MS = 30_000;
const REQUEST_ID = 1;

const Answer = z.looseObject({
  id: z.literal(REQUEST_ID),
  result: z
    .looseObject({
      inputId: z.string(),
      followupDepth: z.int(),
      waitsFor: z.string(),
      repeated: z.boolean(),
    })
    .optional(),
  error: z.looseObject({ code: z.number(), message: z.string() }).optional(),
});
type Accepted = NonNullable<z.infer<typeof Answer>["result"]>;

/**
 * `argus send`: returns once the message is on the gateway's disk; its turn follows whatever happens. An unanswered try is
 * repeated with the same key, so that it is never two messages.
 */
export async function send(command: SendCommand): Promise<number> {
  const gateway = findGateway(command);
  const key = command.key ?? `cli:${randomUUID()}`;
  const accepted = await deliver(gateway, { ...command, key });
  const words = [
    accepted.repeated ? "accepted before" : "accepted",
    accepted.followupDepth > 0 ? `${accepted.followupDepth} ahead of it` : "",
    accepted.waitsFor,
  ].filter(Boolean);
  process.stdout.write(`${accepted.inputId}: ${words.join("; ")}\n`);
  return EXIT.ok;
}

interface Letter {
  session?: string;
  text: string;
  key: string;
}

async function deliver(gateway: ClientFile, letter: Letter): Promise<Accepted> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await call(gateway, letter);
    } catch (error) {
      const passes = error instanceof ArgusError && error.code === "Unavailable";
      if (!passes || attempt + 1 >= ATTEMPTS) throw error;
      await systemClock.sleep(backoffMs(attempt, RETRY));
    }
  }
}

async function call({ url, token }: ClientFile, { session, text, key }: Letter): Promise<Accepted> {
  const address = new URL(`${url.replace(/^http/, "ws")}/ws`);
  if (session) address.searchParams.set("session", session);
  const socket = new WebSocket(address, { headers: { authorization: `Bearer ${token}` } });
  const answer = answerOn(socket);
  try {
    await Promise.race([once(socket, "open"), answer]);
    socket.send(
      JSON.stringify({ id: REQUEST_ID, method: "argus/input/enqueue", params: { text, key } }),
    );
    return await answer;
  } finally {
    socket.close();
  }
}

/** The answer to our request. Throws `Unavailable` where another try may help, else what the gateway says. */
function answerOn(socket: WebSocket): Promise<Accepted> {
  return new Promise((resolve, reject) => {
    const away = (why: string) =>
      reject(
        new ArgusError(
          "Unavailable",
          `the gateway did not take the message (${why}). Is \`argus up\` running?`,
        ),
      );
    const timer = setTimeout(() => away("no answer"), CALL_MS);
    socket.on("error", (error) => away(errorMessage(error)));
    socket.on("close", (code, reason) => {
      clearTimeout(timer);
      if (code === 1008)
        reject(
          new ArgusError(
            "Forbidden",
            `${reason.toString()}: \`argus sessions\` lists what there is`,
          ),
        );
      else away(`closed with ${code}`);
    });
    socket.on("message", (data: Buffer) => {
      const { data: answer } = Answer.safeParse(JSON.parse(data.toString("utf8")));
      if (answer?.result) resolve(answer.result);
      if (answer?.error) reject(refusal(answer.error));
    });
  });
}

function refusal({ code, message }: { code: number; message: string }): ArgusError {
  return new ArgusError(code === RPC_ERROR.busy ? "Busy" : "InvalidInput", message);
}
