import { once } from "node:events";
import { WebSocket } from "ws";
import { z } from "zod";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import { RPC_ERROR } from "#protocol/envelope.ts";
import { decodeChunk, type OutputChunk } from "#protocol/node.ts";
import type { ClientFile } from "../client.ts";

const Message = z.object({
  id: z.number().optional(),
  method: z.string().optional(),
  params: z.unknown().optional(),
  result: z.unknown().optional(),
  error: z.object({ code: z.number(), message: z.string() }).optional(),
});
const CONNECT_MS = 15_000;

interface Waiting {
  resolve: (result: unknown) => void;
  reject: (error: ArgusError) => void;
}

/** One connection to the gateway for `argus/node/*`. Its end fails what waits with `Unavailable`. */
export class GatewayLink {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #failure: ArgusError | undefined;
  onChunk: (chunk: OutputChunk) => void = () => undefined;
  onNotification: (method: string, params: unknown) => void = () => undefined;
  /** Resolves with the reason why it ended. */
  readonly closed: Promise<ArgusError>;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on("message", (data: Buffer, isBinary: boolean) => this.#take(data, isBinary));
    socket.on("error", () => undefined);
    this.closed = new Promise((resolve) => {
      socket.on("close", (code, reason) => resolve(this.#end(closeError(code, reason.toString()))));
    });
  }

  /** Throws `Unavailable`, or `Forbidden` with the gateway's words. */
  static async open(gateway: ClientFile, session: string | undefined): Promise<GatewayLink> {
    const url = new URL(`${gateway.url.replace(/^http/, "ws")}/ws`);
    if (session) url.searchParams.set("session", session);
    const headers = { authorization: `Bearer ${gateway.token}` };
    const socket = new WebSocket(url, { headers, handshakeTimeout: CONNECT_MS });
    const link = new GatewayLink(socket);
    try {
      await once(socket, "open");
    } catch (error) {
      const why = `the gateway at ${gateway.url} cannot be reached (${errorMessage(error)}). Is \`argus up\` running?`;
      throw new ArgusError("Unavailable", why);
    }
    return link;
  }

  request(method: string, params: object = {}): Promise<unknown> {
    if (this.#failure) return Promise.reject(this.#failure);
    const id = this.#nextId++;
    this.#socket.send(JSON.stringify({ id, method, params }));
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  close(): void {
    this.#socket.resume();
    this.#socket.close();
    // Whoever is called once must not wait for a gateway that does not answer.
    setTimeout(() => this.#socket.terminate(), 1000).unref();
  }

  #take(data: Buffer, isBinary: boolean): void {
    if (isBinary) {
      const chunk = decodeChunk(data);
      if (chunk) this.onChunk(chunk);
      return;
    }
    const { data: message } = Message.safeParse(JSON.parse(data.toString("utf8")));
    if (message?.method) return this.onNotification(message.method, message.params);
    const waiting = this.#waiting.get(message?.id ?? 0);
    if (!message || !waiting) return;
    this.#waiting.delete(message.id ?? 0);
    if (message.error) waiting.reject(refusal(message.error));
    else waiting.resolve(message.result);
  }

  #end(failure: ArgusError): ArgusError {
    this.#failure = failure;
    for (const { reject } of this.#waiting.values()) reject(failure);
    this.#waiting.clear();
    return failure;
  }
}

function closeError(code: number, reason: string): ArgusError {
  if (code !== 1008)
    return new ArgusError("Unavailable", `the gateway closed with ${code} ${reason}`);
  const hint = "`argus sessions` lists what there is; the token comes from --token or ARGUS_TOKEN";
  return new ArgusError("Forbidden", `${reason}: ${hint}`);
}

function refusal({ code, message }: { code: number; message: string }): ArgusError {
  if (code === RPC_ERROR.busy) return new ArgusError("Busy", message);
  return new ArgusError(code === RPC_ERROR.invalidParams ? "InvalidInput" : "NotFound", message);
}

/** A session's own pod names its session. */
export const sessionOf = (session: string | undefined, node: string | undefined) =>
  session ?? /^runtime:(.+)$/.exec(node ?? "")?.[1];

/** Does one thing on a connection of its own. */
export async function withLink<T>(
  gateway: ClientFile,
  session: string | undefined,
  work: (link: GatewayLink) => Promise<T>,
): Promise<T> {
  const link = await GatewayLink.open(gateway, session);
  try {
    return await work(link);
  } finally {
    link.close();
  }
}
