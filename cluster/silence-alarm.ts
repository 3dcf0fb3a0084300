import type { Clock } from "#lib/clock.ts";

/** Aborts a request that gave no byte for `limitMs`. */
export class SilenceAlarm {
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  #lastByteMs: number;

  constructor(clock: Clock, limitMs: number, target: AbortController) {
    this.#clock = clock;
    this.#lastByteMs = clock.monotonicMs();
    // Ends with stop(), and then without an error.
    void this.#watchOver(limitMs, target).catch(() => undefined);
  }

  async *listen(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of body) {
      this.#lastByteMs = this.#clock.monotonicMs();
      yield chunk;
    }
  }

  stop(): void {
    this.#stop.abort();
  }

  async #watchOver(limitMs: number, target: AbortController): Promise<void> {
    for (;;) {
      const leftMs = this.#lastByteMs + limitMs - this.#clock.monotonicMs();
      if (leftMs <= 0) {
        target.abort(new Error(`no byte for ${limitMs} ms: the connection is dead`));
        return;
      }
      await this.#clock.sleep(leftMs, this.#stop.signal);
    }
  }
}
