import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { ApiError, Described } from "./answers.ts";
import { botMethods } from "./bot-methods.ts";
import type { Telegram } from "./call.ts";
import type { Fault, Faults } from "./faults.ts";
import { mediaMethods } from "./media.ts";
import { messageMethods } from "./messages.ts";
import type { Params } from "./params.ts";
import { readParams } from "./request.ts";

const METHODS = new Map(
  Object.entries({ ...botMethods, ...messageMethods, ...mediaMethods }).map(([name, method]) => [
    name.toLowerCase(),
    { name, method },
  ]),
);

/** A request that arrived, in order; what became of it is filled in when it is known. */
export interface ApiCall {
  method: string;
  params: Record<string, unknown>;
  atMs: number;
  /** Absent while it is open, or when a fault took it. */
  answer?: { ok: boolean; error_code?: number; description?: string; result?: unknown };
  fault?: Fault;
  /** Whether the method had its effect. */
  effect: boolean;
}

export interface ServerOptions {
  token: string;
  /** Path before `/bot<token>` and `/file`, such as `/telegram`. */
  root: string;
  /** 0 = any free port. */
  port: number;
  telegram: Telegram;
  faults: Faults;
  /** Address to listen at; loopback when absent. */
  host?: string | undefined;
  /** Something happened. */
  changed: () => void;
}

/** Speaks the Bot API over HTTP. */
export class BotApiServer {
  readonly calls: ApiCall[] = [];
  readonly #options: ServerOptions;
  #server: Server | undefined;
  #port: number;

  constructor(options: ServerOptions) {
    this.#options = options;
    this.#port = options.port;
  }

  get #host(): string {
    return this.#options.host ?? "127.0.0.1";
  }

  get url(): string {
    return `http://${this.#host}:${this.#port}${this.#options.root}`;
  }

  /** Listens, again on the same port after a `close`. */
  async listen(): Promise<void> {
    const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
    server.listen(this.#port, this.#host);
    await once(server, "listening");
    this.#port = (server.address() as AddressInfo).port;
    this.#server = server;
  }

  /** Ends all connections and refuses new ones. */
  async close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    const closed = once(server, "close");
    server.close();
    server.closeAllConnections();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { root, token } = this.#options;
    const url = new URL(request.url ?? "", "http://localhost");
    const path = url.pathname.startsWith(root) ? url.pathname.slice(root.length) : "";
    const file = /^\/file\/bot([^/]+)\/(.+)$/.exec(path);
    if (file) return await this.#download(decodeURIComponent(file[2] ?? ""), file[1], response);
    const call = /^\/bot([^/]+)\/([^/]+)$/.exec(path);
    if (!call || !["GET", "POST"].includes(request.method ?? "")) {
      return refuse(response, new ApiError(404, "Not Found"));
    }
    if (decodeURIComponent(call[1] ?? "") !== token) {
      return refuse(response, new ApiError(401, "Unauthorized"));
    }
    try {
      const params = await readParams(request, url.searchParams);
      await this.#call(call[2] ?? "", params, response);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      refuse(response, error);
    }
  }

  async #download(path: string, token: string | undefined, response: ServerResponse) {
    const { telegram, faults } = this.#options;
    if (token !== this.#options.token) return refuse(response, new ApiError(401, "Unauthorized"));
    const fault = faults.pick("download", { path });
    if (fault && !("hang" in fault)) {
      if ("status" in fault) return refuse(response, statusError(fault));
      const bytes = telegram.files.download(path)?.bytes ?? Buffer.alloc(0);
      response.writeHead(200, { "content-length": bytes.length });
      response.write(bytes.subarray(0, bytes.length >> 1), () => response.destroy());
      return;
    }
    const file = telegram.files.download(path);
    if (!file) return refuse(response, new ApiError(404, "Not Found"));
    response.writeHead(200, {
      "content-type": "application/octet-stream",
      "content-length": file.bytes.length,
    });
    response.end(file.bytes);
  }

  async #call(name: string, params: Params, response: ServerResponse): Promise<void> {
    const { telegram, faults, changed } = this.#options;
    const known = METHODS.get(name.toLowerCase());
    if (!known) throw new ApiError(404, "Not Found: method not found");
    const call: ApiCall = {
      method: known.name,
      params: params.values,
      atMs: telegram.world.clock.now(),
      effect: false,
    };
    this.calls.push(call);
    const fault = faults.pick(known.name, params.values);
    if (fault) call.fault = fault;
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    if (fault && !isAfter(fault)) return this.#fail(fault, response);
    try {
      const running = known.method({ telegram, params, signal: gone.signal });
      // By now a poll waits.
      changed();
      call.answer = answered(await running);
      call.effect = true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      call.answer = refused(error);
    } finally {
      changed();
    }
    if (fault) return this.#fail(fault, response);
    reply(response, call.answer);
  }

  #fail(fault: Fault, response: ServerResponse): void {
    this.#options.changed();
    if ("cut" in fault) response.destroy();
    else if ("status" in fault) refuse(response, statusError(fault));
    else if ("retryAfter" in fault) {
      refuse(
        response,
        new ApiError(429, `Too Many Requests: retry after ${fault.retryAfter}`, {
          retry_after: fault.retryAfter,
        }),
      );
    }
  }
}

function isAfter(fault: Fault): boolean {
  if ("cut" in fault) return fault.cut === "after";
  if ("hang" in fault) return fault.hang === "after";
  return "status" in fault && fault.when === "after";
}

function statusError({ status, description }: { status: number; description?: string }): ApiError {
  const words: Record<number, string> = {
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
  };
  return new ApiError(status, description ?? words[status] ?? "Internal Server Error");
}

type Answer = NonNullable<ApiCall["answer"]> & { parameters?: Record<string, number> };

function answered(result: unknown): Answer {
  if (!(result instanceof Described)) return { ok: true, result };
  return { ok: true, result: result.result, description: result.description };
}

function refused({ code, message, parameters }: ApiError): Answer {
  return {
    ok: false,
    error_code: code,
    description: message,
    ...(parameters && { parameters }),
  };
}

function refuse(response: ServerResponse, error: ApiError): void {
  reply(response, refused(error));
}

function reply(response: ServerResponse, answer: Answer): void {
  if (response.destroyed) return;
  response.writeHead(answer.error_code ?? 200, { "content-type": "application/json" });
  response.end(JSON.stringify(answer));
}
