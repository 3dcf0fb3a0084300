import { once } from "node:events";
import { WebSocket } from "ws";
import { z } from "zod";
import { ArgusError, type ErrorCode, errorMessage } from "#lib/errors.ts";
import { CHANNELS_PATH, SUPERSEDED } from "#protocol/channel.ts";
import { CLOSE } from "#protocol/client.ts";

const OPEN_MS = 10_000;
/** The gateway pings each 20 s: a connection that is silent for longer is dead. */
const SILENCE_MS = 70_000;
const MAX_FRAME_BYTES = 4 * 1024 * 1024;

const Message = z.looseObject({
  id: z.number().optional(),
  method: z.string().optional(),
  params: z.unknown().optional(),
  result: z.unknown().optional(),
  error: z
    .looseObject({ message: z.string(), data: z.looseObject({ code: z.string() }).optional() })
    .optional(),
});
type Message = z.infer<typeof Message>;

/** What the gateway may say of a request; anything else counts as its defect. */
const Code = z.enum([
  "InvalidInput",
  "Unauthorized",
  "Forbidden",
  "NotFound",
  "Conflict",
  "TooLarge",
  "Busy",
  "Unavailable",
  "Timeout",
  "Internal",
] satisfies ErrorCode[]);

export interface ConnectOptions {
  gatewayUrl: string;
  token: string;
  /** News of the gateway. */
  onNotice: (method: string, params: unknown) => void;
}

/** `Unavailable`: whether an open request was taken is not known; it can be asked again on the next connection. */
export function connectionLost(why: string): ArgusError {
  return new ArgusError("Unavailable", `The gateway cannot be reached (${why}).`);
}

/** One connection to the gateway: requests with answers. */
export class Connection {
  readonly #socket: WebSocket;
  readonly #asked = new Map<number, PromiseWithResolvers<unknown>>();
  readonly #gone = Promise.withResolvers<ArgusError>();
  #nextId = 1;
  #silence: NodeJS.Timeout | undefined;

  /** Throws {@link connectionLost}. */
  static async open(options: ConnectOptions, signal: AbortSignal): Promise<Connection> {
    const url = new URL(`${options.gatewayUrl.replace(/^http/, "ws")}${CHANNELS_PATH}`);
    const headers = { authorization: `Bearer ${options.token}` };
    const socket = new WebSocket(url, { headers, maxPayload: MAX_FRAME_BYTES });
    const connection = new Connection(socket, options.onNotice);
    try {
      const inTime = AbortSignal.any([signal, AbortSignal.timeout(OPEN_MS)]);
      await once(socket, "open", { signal: inTime });
      return connection;
    } catch (error) {
      socket.terminate();
      throw connectionLost(errorMessage(error));
    }
  }

  private constructor(socket: WebSocket, onNotice: ConnectOptions["onNotice"]) {
    this.#socket = socket;
    socket.on("error", () => {});
    socket.on("ping", () => this.#heard());
    socket.on("message", (data: Buffer) => {
      this.#heard();
      this.#take(data, onNotice);
    });
    socket.on("close", (code, reason) => this.#closed(code, reason.toString()));
    this.#heard();
  }

  /** Resolves to why, once the connection is over. */
  get gone(): Promise<ArgusError> {
    return this.#gone.promise;
  }

  /** Resolves to the result. Throws the gateway's refusal with its code, or {@link connectionLost}. */
  async request<T>(method: string, params: unknown, result: z.ZodType<T>): Promise<T> {
    if (this.#socket.readyState !== WebSocket.OPEN) throw await this.gone;
    const id = this.#nextId++;
    const answer = Promise.withResolvers<unknown>();
    this.#asked.set(id, answer);
    this.#socket.send(JSON.stringify({ id, method, params }));
    return result.parse(await answer.promise);
  }

  close(): void {
    this.#socket.close(CLOSE.normal);
    // Whoever waits for an answer need not wait for the peer.
    this.#closed(CLOSE.normal, "closed by the adapter");
  }

  #heard(): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => this.#socket.terminate(), SILENCE_MS);
  }

  #take(data: Buffer, onNotice: ConnectOptions["onNotice"]): void {
    const message = parsed(data);
    if (!message) return this.#socket.close(CLOSE.policy, "not a message");
    if (message.method !== undefined) return onNotice(message.method, message.params);
    const asked = this.#asked.get(message.id ?? -1);
    this.#asked.delete(message.id ?? -1);
    if (message.error) asked?.reject(refusal(message.error));
    else asked?.resolve(message.result);
  }

  #closed(code: number, reason: string): void {
    clearTimeout(this.#silence);
    const why = farewell(code, reason);
    for (const { reject } of this.#asked.values()) reject(why);
    this.#asked.clear();
    this.#gone.resolve(why);
  }
}

function parsed(data: Buffer): Message | undefined {
  try {
    return Message.safeParse(JSON.parse(data.toString("utf8"))).data;
  } catch {
    return undefined;
  }
}

function refusal({ message, data }: NonNullable<Message["error"]>): ArgusError {
  return new ArgusError(Code.safeParse(data?.code).data ?? "Internal", message);
}

function farewell(code: number, reason: string): ArgusError {
  if (reason === SUPERSEDED) return new ArgusError("Conflict", SUPERSEDED);
  if (code === CLOSE.policy && reason === "Unauthorized") {
    return new ArgusError("Unauthorized", "The gateway does not take the adapter's token.");
  }
  return connectionLost(reason || `closed with ${code}`);
}
