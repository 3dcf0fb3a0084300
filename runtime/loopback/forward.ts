import { once } from "node:events";
import { readFile } from "node:fs/promises";
import http, { type IncomingMessage, type ServerResponse } from "node:http";
import https from "node:https";
import { pipeline } from "node:stream/promises";
import { backoffMs, monotonicMs, systemClock } from "#lib/clock.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import type { BodyBudget } from "./body.ts";
import { requestHeaders, responseHeaders } from "./headers.ts";
import { refuse } from "./refuse.ts";

export interface ForwarderOptions {
  gatewayUrl: string;
  tokenFile: string;
  logger: Logger;
  holdMs?: number;
}

interface Outgoing {
  request: IncomingMessage;
  body: Buffer;
  /** Aborted when the client left or the bridge stops. */
  signal: AbortSignal;
}

const HOLD_MS = 120_000;
const CONNECT_MS = 5000;
const RETRY = { baseMs: 100, maxMs: 1000 };
/** A gateway that vanished without a word is noticed some ten seconds after this. */
const KEEP_ALIVE_MS = 15_000;

/** Sends requests to the gateway and streams the answers back. */
export class Forwarder {
  readonly #options: ForwarderOptions;
  readonly #budget: BodyBudget;
  readonly #signal: AbortSignal;
  readonly #client: typeof http | typeof https;
  readonly #agent: http.Agent;

  constructor(options: ForwarderOptions, budget: BodyBudget, signal: AbortSignal) {
    this.#options = options;
    this.#budget = budget;
    this.#signal = signal;
    this.#client = options.gatewayUrl.startsWith("https:") ? https : http;
    this.#agent = new this.#client.Agent({ keepAlive: true, keepAliveMsecs: KEEP_ALIVE_MS });
  }

  /** Resolves when the exchange has ended, one way or the other; errors of the exchange are answered, not thrown. */
  async forward(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const left = new AbortController();
    response.once("close", () => left.abort());
    const signal = AbortSignal.any([left.signal, this.#signal]);
    try {
      await this.#budget.with(request, async (body) => {
        const answer = await this.#answer({ request, body, signal });
        await stream(answer, response, signal);
      });
    } catch (error) {
      if (signal.aborted) response.destroy();
      else refuse(response, statusOf(error), errorMessage(error));
    }
  }

  close(): void {
    this.#agent.destroy();
  }

  /** The answer's head. Until there is one, every failure means that the gateway is away: wait and send it again. */
  async #answer(outgoing: Outgoing): Promise<IncomingMessage> {
    const { logger, holdMs = HOLD_MS } = this.#options;
    let deadline: number | undefined;
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#send(outgoing);
      } catch (error) {
        outgoing.signal.throwIfAborted();
        deadline ??= monotonicMs() + holdMs;
        if (attempt === 0) logger.warn({ err: error }, "gateway is away, request waits");
        const pause = backoffMs(attempt, RETRY);
        if (monotonicMs() + pause > deadline) throw away(holdMs, error);
        await systemClock.sleep(pause, outgoing.signal);
      }
    }
  }

  async #send({ request, body, signal }: Outgoing): Promise<IncomingMessage> {
    const { gatewayUrl, tokenFile } = this.#options;
    const token = (await readFile(tokenFile, "utf8")).trim();
    const { pathname, search } = new URL(request.url ?? "/", "http://127.0.0.1");
    const sent = this.#client.request(gatewayUrl.replace(/\/+$/, "") + pathname + search, {
      method: request.method ?? "GET",
      headers: {
        ...requestHeaders(request.headers),
        authorization: `Bearer ${token}`,
        ...(body.length > 0 ? { "content-length": body.length } : {}),
      },
      agent: this.#agent,
      signal,
    });
    limitConnect(sent);
    // Also after the head: a request that fails later is the answer's affair, and must not end the process.
    sent.on("error", () => undefined);
    const answered = once(sent, "response", { signal });
    sent.end(body);
    const [answer] = (await answered) as [IncomingMessage];
    return answer;
  }
}

function away(holdMs: number, cause: unknown): ArgusError {
  const message = `the gateway could not be reached for ${holdMs / 1000} s; try again later`;
  return new ArgusError("Unavailable", message, {}, { cause });
}

function limitConnect(sent: http.ClientRequest): void {
  const timer = setTimeout(() => sent.destroy(new Error("no connection in time")), CONNECT_MS);
  const done = () => clearTimeout(timer);
  sent.once("close", done);
  sent.once("socket", (socket) => {
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    if (!socket.connecting) return done();
    socket.once("connect", done);
  });
}

/** An answer that breaks off breaks off for the client too; it must not look like its end. */
async function stream(
  answer: IncomingMessage,
  response: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  response.writeHead(answer.statusCode ?? 502, responseHeaders(answer.headers));
  response.flushHeaders();
  await pipeline(answer, response, { signal });
}

function statusOf(error: unknown): number {
  if (error instanceof ArgusError && error.code === "TooLarge") return 413;
  return 503;
}
