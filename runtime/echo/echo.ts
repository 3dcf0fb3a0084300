import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import type { z } from "zod";
import { LineSplitter, MAX_APP_SERVER_LINE_BYTES } from "#lib/lines.ts";
import { type Logger, silentLogger } from "#lib/logger.ts";
import { Envelope } from "#protocol/envelope.ts";
import { EXPERIMENTAL, METHODS } from "./methods.ts";
import { Params, readParams } from "./params.ts";
import { EchoService } from "./service.ts";
import { ECHO_VERSION } from "./shapes.ts";
import { Threads } from "./threads.ts";
import { Refusal, rpcError, Wire } from "./wire.ts";

export interface EchoOptions {
  /** Threads are kept in `.argus-echo` under it. */
  home: string;
  logger?: Logger;
}

/**
 * The built-in app-server: speaks Codex's protocol in JSON lines, asks no model and runs no command. Resolves when the
 * input has ended or the signal is aborted, turns under way left as interrupted. Throws what reading the home throws.
 */
export async function runEcho(
  input: Readable,
  output: Writable,
  options: EchoOptions,
  signal: AbortSignal,
): Promise<void> {
  const wire = new Wire(output);
  const threads = await Threads.open(join(options.home, ".argus-echo", "threads"));
  const service = new EchoService(wire, threads, options.home);
  const connection = new Connection(service, wire, options.logger ?? silentLogger());
  const stop = new AbortController();
  // Whoever reads the answers is gone: there is nothing left to do.
  output.on("error", () => stop.abort());
  try {
    await serve(connection, input, AbortSignal.any([signal, stop.signal]));
  } finally {
    await service.close();
  }
}

async function serve(connection: Connection, input: Readable, signal: AbortSignal): Promise<void> {
  const splitter = new LineSplitter({ maxBytes: MAX_APP_SERVER_LINE_BYTES, onOverflow: "skip" });
  const stop = () => input.destroy();
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop();
  try {
    for await (const chunk of input) {
      const { lines, overflows } = splitter.push(chunk as Buffer);
      for (const line of lines) await connection.receive(line, signal);
      if (overflows > 0) connection.overflowed();
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** One client: what it said in `initialize`, its lines in order. */
class Connection {
  readonly #service: EchoService;
  readonly #wire: Wire;
  readonly #logger: Logger;
  #client: z.infer<typeof Params.initialize> | undefined;

  constructor(service: EchoService, wire: Wire, logger: Logger) {
    this.#service = service;
    this.#wire = wire;
    this.#logger = logger;
  }

  overflowed(): void {
    this.#logger.error("line is too long and was not read");
  }

  /** As Codex: what is no JSON-RPC message gets no answer, only a line in the log. */
  async receive(line: Buffer, signal: AbortSignal): Promise<void> {
    await this.#wire.ready(signal);
    const message = parse(line);
    if (!message) {
      this.#logger.error("line is not a JSON-RPC message");
    } else if (message.method === undefined) {
      this.#settle(message);
    } else if ("id" in message) {
      await this.#request(message.id, message.method, message.params);
    }
  }

  #settle(message: Envelope): void {
    const answer = "error" in message ? undefined : { result: message.result };
    if (this.#service.asks.settle(message.id, answer)) return;
    this.#logger.warn("answer to a request that is not open");
  }

  async #request(id: unknown, method: string, params: unknown): Promise<void> {
    try {
      this.#wire.answer(id, await this.#call(method, params));
    } catch (error) {
      this.#wire.refuse(id, rpcError(error));
    }
  }

  #call(method: string, params: unknown): unknown {
    if (method === "initialize") return this.#initialize(params);
    if (!this.#client) throw new Refusal("Not initialized");
    const run = METHODS.get(method);
    if (!run) throw unknownMethod(method);
    if (EXPERIMENTAL.includes(method) && !this.#client.capabilities?.experimentalApi) {
      throw new Refusal(`${method} requires experimentalApi capability`);
    }
    return run(this.#service, params);
  }

  #initialize(params: unknown): object {
    if (this.#client) throw new Refusal("Already initialized");
    this.#client = readParams(Params.initialize, params);
    return {
      userAgent: `argus-echo/${ECHO_VERSION} (${process.platform}; ${process.arch})`,
      codexHome: this.#service.home,
      platformFamily: "unix",
      platformOs: process.platform,
    };
  }
}

function parse(line: Buffer): Envelope | undefined {
  try {
    const parsed = Envelope.safeParse(JSON.parse(line.toString("utf8")));
    const usable = parsed.success && ("method" in parsed.data || "id" in parsed.data);
    return usable ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

function unknownMethod(method: string): Refusal {
  const known = ["initialize", ...METHODS.keys()].map((name) => `\`${name}\``).join(", ");
  return new Refusal(`Invalid request: unknown variant \`${method}\`, expected one of ${known}`);
}
