import { Agent, fetch } from "undici";
import type { Clock } from "#lib/clock.ts";
import type { Update } from "./updates.ts";

export interface WebhookOptions {
  /** Empty = none. */
  url: string;
  /** Empty = no header. */
  secret: string;
}

/** Where the updates come from. */
interface Source {
  next: () => Update | undefined;
  /** The bot has taken it. */
  taken: (id: number) => void;
  /** PEM of a certificate that is trusted beside the usual ones. */
  trusted: () => string | undefined;
}

const TIMEOUT_MS = 60_000;
const FIRST_DELAY_MS = 1000;
const MAX_DELAY_MS = 60_000;

/**
 * Posts one update after the other. Any 2xx takes the update; anything else, or no answer, and the same one is posted again:
 * at once, then after pauses that double, or when `Retry-After` says.
 */
export class Webhook {
  readonly url: string;
  readonly secret: string;
  lastError: { last_error_date: number; last_error_message: string } | undefined;
  readonly #clock: Clock;
  readonly #source: Source;
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;

  constructor({ url, secret }: WebhookOptions, clock: Clock, source: Source) {
    this.url = url;
    this.secret = secret;
    this.#clock = clock;
    this.#source = source;
  }

  /** There may be an update. */
  wake(): void {
    if (this.#running || this.#stop.signal.aborted) return;
    this.#running = this.#run().finally(() => {
      this.#running = undefined;
      if (this.#source.next() && !this.#stop.signal.aborted) this.wake();
    });
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    let fails = 0;
    for (;;) {
      const update = this.#stop.signal.aborted ? undefined : this.#source.next();
      if (!update) return;
      const retryMs = await this.#post(update);
      if (this.#stop.signal.aborted) return;
      if (retryMs === undefined) {
        fails = 0;
        this.#source.taken(update.update_id);
        continue;
      }
      const backOffMs = fails === 0 ? 0 : Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** fails);
      fails++;
      const pauseMs = retryMs || backOffMs;
      if (pauseMs > 0) await this.#clock.sleep(pauseMs, this.#stop.signal).catch(() => undefined);
    }
  }

  /** Undefined = taken; else the pause that was asked for, 0 when none was. */
  async #post(update: Update): Promise<number | undefined> {
    const ca = this.#source.trusted();
    const agent = new Agent(ca === undefined ? {} : { connect: { ca } });
    try {
      const response = await fetch(this.url, {
        dispatcher: agent,
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...(this.secret && { "x-telegram-bot-api-secret-token": this.secret }),
        },
        body: JSON.stringify(update),
        signal: AbortSignal.any([this.#stop.signal, AbortSignal.timeout(TIMEOUT_MS)]),
      });
      await response.arrayBuffer();
      if (response.ok) return undefined;
      this.#failed(`Wrong response from the webhook: ${response.status} ${response.statusText}`);
      return Number(response.headers.get("retry-after") ?? 0) * 1000;
    } catch {
      if (!this.#stop.signal.aborted) this.#failed("Connection refused");
      return 0;
    } finally {
      await agent.destroy();
    }
  }

  #failed(message: string): void {
    this.lastError = {
      last_error_date: Math.floor(this.#clock.now() / 1000),
      last_error_message: message,
    };
  }
}
