import { monotonicMs } from "#lib/clock.ts";
import type { ClientSocket } from "./client-socket.ts";

const TICK_MS = 1000;
const PING_EVERY_TICKS = 20;

/** One timer for all clients: a tick each second, a ping to each every 20 s, spread over the ticks. */
export class Liveness {
  readonly #members = new Map<ClientSocket, number>();
  #timer: NodeJS.Timeout | undefined;
  #next = 0;
  #turn = 0;
  #onEmpty: (() => void) | undefined;

  get size(): number {
    return this.#members.size;
  }

  add(client: ClientSocket): void {
    this.#next = (this.#next + 1) % PING_EVERY_TICKS;
    this.#members.set(client, this.#next);
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS);
  }

  delete(client: ClientSocket): void {
    this.#members.delete(client);
    if (this.#members.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#onEmpty?.();
  }

  /** Resolves when nobody is left, at the latest after `ms`. */
  async emptied(ms: number): Promise<void> {
    if (this.#members.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#onEmpty = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  /** Closes everybody. */
  closeAll(code: number, reason: string): void {
    for (const client of this.#members.keys()) client.close(code, reason);
  }

  destroyAll(): void {
    for (const client of this.#members.keys()) client.destroy();
  }

  #tick(): void {
    const now = monotonicMs();
    this.#turn = (this.#turn + 1) % PING_EVERY_TICKS;
    for (const [client, slot] of this.#members) {
      client.tick(now);
      if (slot === this.#turn) client.ping();
    }
  }
}
