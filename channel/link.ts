import type { z } from "zod";
import { backoffMs, systemClock } from "#lib/clock.ts";
import { ArgusError, errorMessage } from "#lib/errors.ts";
import type { Logger } from "#lib/logger.ts";
import { unlessAborted } from "#lib/unless-aborted.ts";
import { CHANNEL, HelloResult, SUPERSEDED } from "#protocol/channel.ts";
import { Connection, connectionLost } from "./connection.ts";

/** Tries of one request between two words about it. */
const STUCK_AFTER = 4;
const RETRY = { baseMs: 250, maxMs: 10_000 };

/** A request of the adapter. */
export interface Asked<T> {
  method: string;
  params: unknown;
  result: z.ZodType<T>;
  /** A refusal that another try may pass, and that the caller wants to hear of. */
  isFinal?: (error: unknown) => boolean;
}

export interface LinkOptions {
  gatewayUrl: string;
  /** Read for each connection: projected tokens are rotated. */
  token: () => Promise<string>;
  channel: string;
  adapter: string;
  /** It shows questions to people. */
  asks: boolean;
  logger: Logger;
  onNotice: (method: string, params: unknown) => void;
  /** Deliveries that this process is at. */
  holding: () => string[];
  onGreeted: (hello: HelloResult) => void;
}

/** The adapter's way to the gateway over all its connections, under one epoch. */
export class Link {
  readonly #options: LinkOptions;
  #connection = pending<Connection>();
  #epoch: number | undefined;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  /**
   * Keeps a connection until the signal aborts. Throws `Conflict` when a newer process of the adapter has said hello: this
   * one must end.
   */
  async run(signal: AbortSignal): Promise<void> {
    let failures = 0;
    try {
      while (!signal.aborted) {
        if (await this.#once(signal)) failures = 0;
        await systemClock.sleep(backoffMs(failures++, RETRY), signal);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      this.#connection.reject(connectionLost("the adapter stops"));
    }
  }

  /** Waits for a connection and asks once. Throws as {@link Connection.request}. */
  async ask<T>(method: string, params: unknown, result: z.ZodType<T>): Promise<T> {
    const connection = await this.#connection.promise;
    return await connection.request(method, params, result);
  }

  /** Asks until there is an answer, over any number of connections: for what a repeat does not change. */
  async insist<T>({ method, params, result, isFinal }: Asked<T>, signal: AbortSignal): Promise<T> {
    for (let attempt = 0; ; attempt += 1) {
      signal.throwIfAborted();
      try {
        return await unlessAborted(this.ask(method, params, result), signal);
      } catch (error) {
        if (signal.aborted || !mayPass(error) || isFinal?.(error)) throw error;
        this.#sayStuck(method, error, attempt);
        await systemClock.sleep(backoffMs(attempt, RETRY), signal);
      }
    }
  }

  /** A lost connection has its own words; a request that the gateway refuses again and again must not wait in silence. */
  #sayStuck(method: string, error: unknown, attempt: number): void {
    if (attempt < STUCK_AFTER || attempt % STUCK_AFTER !== 0) return;
    const { channel, logger } = this.#options;
    const facts = { channel, method, tries: attempt + 1, error: errorMessage(error) };
    logger.warn(facts, "the gateway does not take a request; trying again");
  }

  /** One connection from its dial to its end; whether there was one. */
  async #once(signal: AbortSignal): Promise<boolean> {
    const { logger, channel, adapter } = this.#options;
    const facts = { channel, adapter };
    try {
      const connection = await this.#greet(signal);
      const why = await closedWith(connection, signal);
      this.#connection = pending();
      if (isSuperseded(why)) throw why;
      if (!signal.aborted)
        logger.info({ ...facts, why: why.message }, "the gateway connection ended");
      return true;
    } catch (error) {
      if (isSuperseded(error) || signal.aborted) throw error;
      const message = "no connection to the gateway; trying again";
      logger.warn({ ...facts, error: errorMessage(error) }, message);
      return false;
    }
  }

  async #greet(signal: AbortSignal): Promise<Connection> {
    const { gatewayUrl, token, onNotice, onGreeted, ...me } = this.#options;
    const { channel, adapter, asks } = me;
    const options = { gatewayUrl, token: await token(), onNotice };
    const connection = await Connection.open(options, signal);
    try {
      const params = { channel, adapter, epoch: this.#epoch, asks, holding: me.holding() };
      const asked = connection.request(CHANNEL.hello, params, HelloResult);
      const hello = await unlessAborted(asked, signal);
      this.#epoch = hello.epoch;
      onGreeted(hello);
      this.#connection.resolve(connection);
      return connection;
    } catch (error) {
      connection.close();
      throw error;
    }
  }
}

/** Resolves to why the connection ended; closes it when the signal aborts. */
async function closedWith(connection: Connection, signal: AbortSignal): Promise<ArgusError> {
  const close = () => connection.close();
  signal.addEventListener("abort", close, { once: true });
  if (signal.aborted) close();
  const why = await connection.gone;
  signal.removeEventListener("abort", close);
  return why;
}

/** A promise that may be rejected when nobody waits for it. */
function pending<T>(): PromiseWithResolvers<T> {
  const made = Promise.withResolvers<T>();
  made.promise.catch(() => undefined);
  return made;
}

/** A newer process of the adapter has said hello. Other conflicts are about what was asked. */
export function isSuperseded(error: unknown): boolean {
  return error instanceof ArgusError && error.message === SUPERSEDED;
}

/** Whether another try may end otherwise. */
function mayPass(error: unknown): boolean {
  const codes = ["Unavailable", "Unauthorized", "Busy", "Timeout", "Internal"];
  return error instanceof ArgusError && codes.includes(error.code);
}
